"""Waits for an engine to load, as long as it makes progress."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from oprel.core.exceptions import BackendStartError
from oprel.runtime.exits import hung
from oprel.runtime.supervisor import procstat
from oprel.runtime.supervisor.child import ChildProcess
from oprel.runtime.supervisor.hang_detector import usable_share

HEALTH_INTERVAL = 0.02  # s between health checks of a starting engine
QUIET_START = 0.25  # s to wait for the line that says it listens; then only its health counts
LOOK = 1.0  # s between looks at its disk reads and memory
STEP = 1 << 20  # bytes read or allocated that count as progress
ADVICE = "Raise load_timeout if the disk is slow; otherwise see the daemon's log."


async def until_ready(
    child: ChildProcess, is_healthy: Callable[[], Awaitable[bool]], load_timeout: float, clock: Callable[[], float]
) -> None:
    """Wait until the engine listens and is healthy. Kills a load that stalls, and raises BackendStartError.

    A new line in the log is progress, and so are bytes read from disk or allocated: large weights load silently. Time
    in which other programs had the CPUs does not count.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(child.log.listening.wait(), QUIET_START)
    moved = last = procstat.ProcessStats()
    looked_at, idle = clock(), 0.0
    while not await is_healthy():
        if (elapsed := clock() - looked_at) > min(LOOK, load_timeout / 4):
            child.sample_memory()
            now = await asyncio.to_thread(procstat.look, child.pid)
            idle += elapsed * usable_share(last, now, elapsed)
            has_moved = abs(now.resident - moved.resident) + now.read - moved.read >= STEP
            if has_moved or child.log.moved_at >= looked_at:
                moved, idle = now, 0.0
            last, looked_at = now, looked_at + elapsed
        if idle > load_timeout:
            what = f"the engine made no progress for {load_timeout:.0f} s while loading"
            child.kill_as(hung(what, ADVICE))
            raise BackendStartError(what, ADVICE)
        await asyncio.sleep(HEALTH_INTERVAL)
