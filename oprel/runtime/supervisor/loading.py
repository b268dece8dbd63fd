"""Waiting for an engine that loads, for as long as it makes progress."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from oprel.core.exceptions import BackendStartError
from oprel.runtime.exits import hung
from oprel.runtime.supervisor import procstat
from oprel.runtime.supervisor.child import ChildProcess

HEALTH_INTERVAL = 0.02  # s between looks at a starting engine's health
QUIET_START = 0.25  # s without the listening line before health alone decides
LOOK = 1.0  # s between looks at what it reads and fills
STEP = 1 << 20  # bytes read or filled that are progress
ADVICE = "Raise load_timeout if the disk is slow; otherwise see the daemon's log."


async def until_ready(
    one: ChildProcess, is_healthy: Callable[[], Awaitable[bool]], load_timeout: float, clock: Callable[[], float]
) -> None:
    """Wait for the listening line and then for health. A load that stalls is ended: raises BackendStartError.

    Progress is a line of the log, or what was read from disk or filled in memory: large weights load in silence.
    """
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(one.log.listening.wait(), QUIET_START)
    seen, moved_at, looked_at = procstat.ProcessStats(), 0.0, clock()
    while not await is_healthy():
        if clock() - looked_at > min(LOOK, load_timeout / 4):
            looked_at = clock()
            one.sample_memory()
            now = await asyncio.to_thread(procstat.look, one.pid)
            if abs(now.resident - seen.resident) + now.read - seen.read >= STEP:
                seen, moved_at = now, looked_at
        if clock() - max(one.log.moved_at, moved_at) > load_timeout:
            what = f"the engine made no progress for {load_timeout:.0f} s while loading"
            one.kill_as(hung(what, ADVICE))
            raise BackendStartError(what, ADVICE)
        await asyncio.sleep(HEALTH_INTERVAL)
