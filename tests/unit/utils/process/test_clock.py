"""Time in which nothing could run does not count, and ends no wait."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from oprel.utils.process.clock import LOOK_INTERVAL, Clock
from oprel.utils.process.observed_time import LONGEST_LOOK, ObservedTime
from tests.fixtures import stepped_loop
from tests.fixtures.stepped_loop import SteppedLoop

NIGHT = 8 * 3600.0

Scene = Callable[[SteppedLoop, Clock], Awaitable[None]]


def play(scene: Scene) -> None:
    """Play a scene with a clock whose time is the loop's. A step of more than `LONGEST_LOOK` is a gap."""

    async def body(loop: SteppedLoop) -> None:
        await scene(loop, Clock(loop.time))

    stepped_loop.run(body)


async def let_pass(loop: SteppedLoop, seconds: float) -> None:
    """Let time pass in which the program runs."""
    while seconds > 0:
        await loop.step(min(seconds, LOOK_INTERVAL))
        seconds -= LOOK_INTERVAL


def test_time_between_two_looks_counts_up_to_the_longest() -> None:
    readings = iter([0.0, 1.0, 1.0 + LONGEST_LOOK, NIGHT, NIGHT + 1])
    observed = ObservedTime(lambda: next(readings))
    assert [round(observed(), 3) for _ in range(4)] == [1.0, 3.0, 3.0, 4.0]
    assert observed.lost == pytest.approx(NIGHT - 3.0)


def test_a_night_ends_no_wait() -> None:
    async def scene(loop: SteppedLoop, clock: Clock) -> None:
        sleeper = asyncio.create_task(clock.sleep(10.0))
        await let_pass(loop, 5.0)
        for _ in range(3):
            await loop.step(NIGHT)
            assert not sleeper.done()
        await let_pass(loop, 3.0)
        assert not sleeper.done()
        await let_pass(loop, 4.0)
        assert sleeper.done()

    play(scene)


def test_a_night_leaves_a_block_its_time() -> None:
    async def scene(loop: SteppedLoop, clock: Clock) -> None:
        answered = asyncio.Event()

        async def ask() -> None:
            async with clock.timeout(10.0):
                await answered.wait()

        in_time, late = asyncio.create_task(ask()), asyncio.create_task(ask())
        await loop.step(NIGHT)
        answered.set()
        await in_time
        await late
        answered.clear()
        late = asyncio.create_task(ask())
        await let_pass(loop, 12.0)
        with pytest.raises(TimeoutError):
            await late

    play(scene)


def test_a_clock_says_how_much_was_lost_to_those_who_observe_it() -> None:
    async def scene(loop: SteppedLoop, clock: Clock) -> None:
        gaps: list[float] = []
        with clock.observed(gaps.append), clock.watched():
            began = clock()
            await let_pass(loop, 5.0)
            await loop.step(NIGHT)
            assert clock() - began == pytest.approx(5.0, abs=LOOK_INTERVAL)
        await loop.step(NIGHT)
        assert [round(gap / NIGHT) for gap in gaps] == [1]

    play(scene)


def test_without_anyone_who_waits_all_time_counts_and_nothing_wakes_up() -> None:
    async def scene(loop: SteppedLoop, clock: Clock) -> None:
        began = clock()
        await loop.step(NIGHT)
        assert clock() - began >= NIGHT
        with clock.watched():
            assert clock() - began >= NIGHT
        clock.call_later(NIGHT, lambda: None).cancel()
        await asyncio.sleep(0)
        assert all(task is asyncio.current_task() for task in asyncio.all_tasks())
        assert clock.lost == 0.0

    play(scene)
