"""What hours do to one engine, with real processes and with the types of production. Only the time is stepped."""

import math
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from oprel.core.exceptions import BackendStartError, EngineBrokenError
from oprel.runtime.binaries.engine_binaries import Binary, BinarySource, EngineBinaries
from oprel.runtime.engine import EngineState
from oprel.runtime.restarts import HEALTHY, MOST, WINDOW
from oprel.runtime.supervisor.child import RunDir
from oprel.runtime.supervisor.launch import Launch
from oprel.runtime.supervisor.process import EngineProcess
from oprel.utils.process.clock import Clock
from tests.conftest import DEADLINE
from tests.fixtures import stepped_loop
from tests.fixtures.fake_engine import install
from tests.fixtures.stepped_loop import SteppedLoop

HOUR = 3600.0
Scene = Callable[[EngineProcess, SteppedLoop], Awaitable[None]]


@pytest.fixture
def play(folder: Path) -> Callable[..., None]:
    """Play a scene with one engine that has these faults."""

    def played(scene: Scene, **faults: object) -> None:
        program = install(folder / "engine", **faults)
        launch = Launch(
            label="fake",
            run_dir=RunDir(folder / "e.sock"),
            arguments=lambda flags: ["--host", str(folder / "e.sock")],
            load_timeout=10.0,
            stall_timeout=30.0,
        )

        async def body(loop: SteppedLoop) -> None:
            binaries = EngineBinaries([Binary(BinarySource.CONFIGURED, (str(program),))])
            engine = EngineProcess(launch, binaries, clock=Clock(loop.time, longest=math.inf))
            try:
                await scene(engine, loop)
            finally:
                await engine.close()

        stepped_loop.run(body)

    return played


async def crash(engine: EngineProcess) -> None:
    assert engine.pid
    os.kill(engine.pid, signal.SIGSEGV)
    assert await engine.why_it_ended(within=DEADLINE)


async def crash_loop(engine: EngineProcess, loop: SteppedLoop) -> None:
    """It dies until the circuit opens; every wait in between is stepped over."""
    for _ in range(MOST):
        await engine.ensure_ready()
        await crash(engine)
        await loop.step(5.0)
    with pytest.raises(EngineBrokenError):
        await engine.ensure_ready()
    assert engine.state is EngineState.BROKEN


@pytest.mark.parametrize("service", [HEALTHY - 1, 5 * HOUR])
def test_an_engine_that_dies_after_long_service_is_started_again(play: Callable[..., None], service: float) -> None:
    async def scene(engine: EngineProcess, loop: SteppedLoop) -> None:
        for _ in range(3):
            await engine.ensure_ready()
            await loop.step(service)
            await crash(engine)
        await engine.ensure_ready()
        assert engine.state is EngineState.READY

    play(scene)


def test_long_service_forgives_earlier_deaths(play: Callable[..., None]) -> None:
    async def scene(engine: EngineProcess, loop: SteppedLoop) -> None:
        for _ in range(MOST - 1):
            await engine.ensure_ready()
            await crash(engine)
            await loop.step(5.0)
        await engine.ensure_ready()
        await loop.step(HEALTHY + 1)
        for _ in range(2):  # the first is forgiven all before it, and the second is the first but one
            await crash(engine)
            await engine.ensure_ready()

    play(scene)


def test_a_circuit_that_opened_closes_after_its_time(play: Callable[..., None]) -> None:
    async def scene(engine: EngineProcess, loop: SteppedLoop) -> None:
        await crash_loop(engine, loop)
        await loop.step(WINDOW)
        await engine.ensure_ready()
        await loop.step(HEALTHY + 1)
        await crash(engine)
        await engine.ensure_ready()

    play(scene)


def test_a_hopeless_engine_is_tried_once_a_minute(play: Callable[..., None]) -> None:
    async def scene(engine: EngineProcess, loop: SteppedLoop) -> None:
        for attempt in range(5):
            with pytest.raises(BackendStartError):
                await engine.ensure_ready()
            with pytest.raises(EngineBrokenError):
                await engine.ensure_ready()
            assert engine.starts == attempt + 1
            await loop.step(61.0)

    play(scene, exit_at_start=1, log_at_start="error loading model: tensor data is not within the file bounds")
