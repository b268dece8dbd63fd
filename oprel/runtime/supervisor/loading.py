"""Waits for an engine to load, as long as it makes progress."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from oprel.core.exceptions import BackendStartError
from oprel.runtime.exits import hung
from oprel.runtime.supervisor import procstat
from oprel.runtime.supervisor.child import ChildProcess
from oprel.runtime.supervisor.hang_detector import usable_share

QUIET_START = 0.25  # s to wait for the line that says it listens; then its health counts too
HEALTH_INTERVAL = 0.02  # s between health checks of an engine that listens
# s between those of one that has not said so: each takes CPU time from the load. Engines that log no such line are
# found ready a twentieth of their start late.
FIRST_INTERVAL, LONGEST_INTERVAL, LATE = 0.1, 0.5, 0.05
LOOK = 1.0  # s between looks at its disk reads and memory
STEP = 1 << 20  # bytes read or allocated that count as progress
ADVICE = "Raise load_timeout if the disk is slow; otherwise see the daemon's log."


async def until_ready(
    child: ChildProcess, is_healthy: Callable[[], Awaitable[bool]], load_timeout: float, clock: Callable[[], float]
) -> None:
    """Wait until the engine listens and is healthy. Kills a load that stalls, and raises BackendStartError.

    A new line in the log is progress, and so are bytes read from disk or allocated: large weights load silently. Time
    in which other programs had the CPUs does not count. Also kills an engine that can never be asked, as its socket was
    removed, and returns then.
    """
    await _until_listening(child, QUIET_START)
    moved = last = procstat.ProcessStats()
    looked_at, idle = clock(), 0.0
    while not await _is_ready(child, is_healthy):
        if (elapsed := clock() - looked_at) > min(LOOK, load_timeout / 4):
            child.sample_memory()
            now = await asyncio.to_thread(procstat.look, child.pid)
            if outgrown := child.bound_memory(now.private):
                raise BackendStartError(f"the engine did not start: {outgrown.detail}", outgrown.advice)
            idle += elapsed * usable_share(last, now, elapsed)
            has_moved = abs(now.resident - moved.resident) + now.read - moved.read >= STEP
            if has_moved or child.log.moved_at >= looked_at:
                moved, idle = now, 0.0
            last, looked_at = now, looked_at + elapsed
            if child.log.listening.is_set() and child.lost_files:
                return await child.kill()
        if idle > load_timeout:
            what = f"the engine made no progress for {load_timeout:.0f} s while loading"
            child.kill_as(hung(what, ADVICE))
            raise BackendStartError(what, ADVICE)


async def _is_ready(child: ChildProcess, is_healthy: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it is healthy now; if not, waits until that should be asked again."""
    was_listening = child.log.listening.is_set()
    if await is_healthy():
        return True
    if was_listening:
        await asyncio.sleep(HEALTH_INTERVAL)
    else:
        await _until_listening(child, max(FIRST_INTERVAL, min(LONGEST_INTERVAL, LATE * child.uptime)))
    return False


async def _until_listening(child: ChildProcess, seconds: float) -> None:
    """Wait for the line that says that it listens, at most so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.log.listening.wait(), seconds)
