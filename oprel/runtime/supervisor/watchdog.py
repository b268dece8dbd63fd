"""Looks at an engine while it has work, and kills one that hangs. What a hang is, `hang_detector` decides.

The rest is as after a crash: the streams break off, and their answers go on with another engine.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from oprel.runtime.exits import hung
from oprel.runtime.supervisor import procstat
from oprel.runtime.supervisor.child import ChildProcess
from oprel.runtime.supervisor.hang_detector import HangDetector, Pace

INTERVAL = 0.5  # s between looks at most


class WatchedWork:
    """A request that an engine works at. Whoever sent it tells what came of it."""

    def __init__(self, watchdog: "Watchdog", about_tokens: int, extra_seconds: float) -> None:
        self._watchdog, self._detector = watchdog, watchdog.detector
        self._request = self._detector.begin(watchdog.clock(), about_tokens, extra_seconds)

    def prefilled(self, processed: int, total: int) -> None:
        """So many of all tokens of the prompt are computed, those of the cache included."""
        self._detector.prefilled(self._request, self._watchdog.clock(), processed, total)

    def moved(self) -> None:
        """A token came, or anything else."""
        self._detector.moved(self._request, self._watchdog.clock())

    def refused(self) -> str | None:
        """The engine failed at the request, with a status of 500 or more. Suspicious when it does nothing else."""
        return self._detector.refused()

    def kill_as(self, why: str) -> None:
        """The engine does not work, as its caller has found."""
        self._watchdog.kill_as(why)

    def end(self) -> None:
        self._detector.end(self._request)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody reads what the engine sends meanwhile, as while a client takes its time."""
        self._detector.pause(self._request)
        try:
            yield
        finally:
            self._detector.resume(self._request)


class Watchdog:
    """The work of one engine at a time. `stall` in seconds; nothing is looked at while there is no work."""

    def __init__(self, stall: float, pace: Pace, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._stall, self._pace = stall, pace
        self._child: ChildProcess | None = None
        self._looking: asyncio.Task[None] | None = None
        self.detector = HangDetector(stall, pace)

    def begin(self, child: ChildProcess) -> None:
        """Another engine is ready: what the one before it worked at is no work of this one."""
        self._rest()
        self._child = child
        self.detector = HangDetector(self._stall, self._pace)

    @contextlib.contextmanager
    def at_work(self, about_tokens: int, extra_seconds: float) -> Iterator[WatchedWork]:
        work = WatchedWork(self, about_tokens, extra_seconds)
        if self._looking is None and self._child:
            self._looking = asyncio.create_task(self._look(self._child), name=f"look at {self._child.pid}")
        try:
            yield work
        finally:
            work.end()
            if not self.detector.is_busy:
                self._rest()

    def kill_as(self, why: str) -> None:
        if self._child:
            self._child.kill_as(hung(why))

    def _rest(self) -> None:
        if self._looking:
            self._looking.cancel()
            self._looking = None

    async def _look(self, child: ChildProcess) -> None:
        while not child.is_over:
            await asyncio.sleep(min(INTERVAL, self._stall / 10))
            child.sample_memory()
            seen = await asyncio.to_thread(procstat.look, child.pid)
            if why := self.detector.look(self.clock(), seen.cpu, seen.read):
                self.kill_as(why)
                return
