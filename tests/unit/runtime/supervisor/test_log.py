"""The last lines of an engine's log, for those who follow it."""

import asyncio

from oprel.runtime.supervisor.log import LINES, EngineLog


async def heard(log: EngineLog) -> list[str]:
    return [line async for line in log.follow()]


async def test_a_follower_hears_what_was_there_and_what_comes() -> None:
    log = EngineLog("fake")
    log.note("one")
    following = asyncio.create_task(heard(log))
    await asyncio.sleep(0)
    log.note("two")
    log.begin()
    log.note("three")
    await asyncio.sleep(0)
    log.note("four")
    log.close()
    assert await following == ["one", "three", "four"], "what an engine wrote is forgotten with the next one"


async def test_a_slow_follower_misses_the_oldest_lines() -> None:
    log = EngineLog("fake")
    following = asyncio.create_task(heard(log))
    await asyncio.sleep(0)
    for number in range(LINES + 5):
        log.note(str(number))
    log.close()
    lines = await following
    assert (len(lines), lines[0], lines[-1]) == (LINES, "5", str(LINES + 4))


async def test_a_log_that_is_closed_can_be_read() -> None:
    log = EngineLog("fake")
    log.note("one")
    log.close()
    assert await heard(log) == ["one"]
