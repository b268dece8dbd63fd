"""What hours and days do to a pool: its timers and its clock are stepped together."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.core.exceptions import QuarantinedError
from oprel.server.history.quarantine import Quarantine
from oprel.utils.process.clock import Clock
from tests.fixtures import stepped_loop
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MODEL, MemoryPool
from tests.fixtures.stepped_loop import SteppedLoop

HOUR = 3600.0
START = datetime(2026, 1, 1, tzinfo=UTC)
HELLO = CompletionRequest((PromptMessage("user", "hello"),))
STORY = "Once upon a time"

Wait = Callable[[float], Awaitable[None]]
Scene = Callable[[MemoryPool, Wait], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(memory_folder: Path) -> Play:
    """Play a scene with a pool of these engines, and with a function that lets seconds pass."""

    def played(scene: Scene, *engines: MemoryEngine) -> None:
        async def body(loop: SteppedLoop) -> None:
            pool = MemoryPool(memory_folder, *engines)
            pool.manager.quarantine = Quarantine(lambda: START + timedelta(seconds=pool.clock.now))

            async def wait(seconds: float) -> None:
                pool.clock.advance(seconds)
                await loop.step(seconds)

            try:
                await scene(pool, wait)
            finally:
                await pool.end()

        stepped_loop.run(body)

    return played


def test_a_model_stays_for_hours_of_requests_and_goes_when_they_end(play: Play) -> None:
    async def scene(pool: MemoryPool, wait: Wait) -> None:
        for _ in range(200):  # 16 hours
            assert (await pool.ask(HELLO)).text == STORY
            await wait(290.0)
            assert pool.names == ["model"]
        await wait(11.0)
        assert pool.names == [] and pool.engines[0].starts == 1
        assert (await pool.ask(HELLO)).text == STORY
        assert len(pool.engines) == 2

    play(scene)


def test_a_keep_alive_of_hours_lasts_so_long(play: Play) -> None:
    async def scene(pool: MemoryPool, wait: Wait) -> None:
        await pool.load(MODEL, keep_alive=24 * HOUR)
        await wait(24 * HOUR - 1)
        assert pool.names == ["model"]
        await wait(2.0)
        assert pool.names == []

    play(scene)


def test_an_engine_that_dies_after_hours_of_service_answers_again(play: Play) -> None:
    async def scene(pool: MemoryPool, wait: Wait) -> None:
        await pool.load(MODEL, keep_alive=100 * HOUR)
        for starts in range(1, 5):
            await wait(5 * HOUR)
            pool.engines[0].die()
            answer = await pool.ask(HELLO)
            assert answer.text == STORY and pool.engines[0].starts == starts + 1

    play(scene)


def test_a_quarantined_request_is_tried_again_after_a_day(play: Play) -> None:
    async def scene(pool: MemoryPool, wait: Wait) -> None:
        assert isinstance((await pool.ask(HELLO)).error, QuarantinedError)
        await wait(23 * HOUR)
        assert isinstance((await pool.ask(HELLO)).error, QuarantinedError)
        await wait(2 * HOUR)
        assert (await pool.ask(HELLO)).text == STORY

    play(scene, MemoryEngine(deaths=[1, 1]))


def test_a_suspended_machine_keeps_its_models_and_lists_them_as_long(memory_folder: Path) -> None:
    async def body(loop: SteppedLoop) -> None:
        pool = MemoryPool(memory_folder, clock=Clock(loop.time))
        gaps: list[float] = []
        with pool.manager.clock.observed(gaps.append):
            loaded = await pool.load(MODEL, keep_alive=10.0)
            await loop.step(1.0)
            await loop.step(8 * HOUR)
            assert pool.names == ["model"] and len(gaps) == 1
            assert 0.0 < loaded.lifetime.expires_at - pool.manager.clock() <= 10.0
            for _ in range(12):
                await loop.step(1.0)
            assert pool.names == []
        await pool.end()

    stepped_loop.run(body)
