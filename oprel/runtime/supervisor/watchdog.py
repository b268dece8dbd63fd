"""Looks at an engine while it has work, and kills one that hangs. What a hang is, `pulse` decides.

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


class Work:
    """A request that an engine works at. Whoever sent it tells what came of it."""

    def __init__(self, watch: "Watchdog", about_tokens: int, patience: float) -> None:
        self._watch, self._pulse = watch, watch.pulse
        self._request = self._pulse.begin(watch.clock(), about_tokens, patience)

    def prefilled(self, processed: int, total: int) -> None:
        """So many of all tokens of the prompt are computed, those of the cache included."""
        self._pulse.prefilled(self._request, self._watch.clock(), processed, total)

    def moved(self) -> None:
        """A token came, or anything else."""
        self._pulse.moved(self._request, self._watch.clock())

    def refused(self) -> str | None:
        """The engine failed at the request, with a status of 500 or more. Suspicious when it does nothing else."""
        return self._pulse.refused()

    def condemn(self, why: str) -> None:
        """The engine does not work, as its caller has found."""
        self._watch.condemn(why)

    def end(self) -> None:
        self._pulse.end(self._request)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody reads what the engine sends meanwhile, as while a client takes its time."""
        self._pulse.pause(self._request)
        try:
            yield
        finally:
            self._pulse.resume(self._request)


class Watchdog:
    """The work of one engine at a time. `stall` in seconds; nothing is looked at while there is no work."""

    def __init__(self, stall: float, pace: Pace, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._stall, self._pace = stall, pace
        self._life: ChildProcess | None = None
        self._looking: asyncio.Task[None] | None = None
        self.pulse = HangDetector(stall, pace)

    def begin(self, life: ChildProcess) -> None:
        """Another engine is ready: what the one before it worked at is no work of this one."""
        self._rest()
        self._life = life
        self.pulse = HangDetector(self._stall, self._pace)

    @contextlib.contextmanager
    def at_work(self, about_tokens: int, patience: float) -> Iterator[Work]:
        work = Work(self, about_tokens, patience)
        if self._looking is None and self._life:
            self._looking = asyncio.create_task(self._look(self._life), name=f"look at {self._life.pid}")
        try:
            yield work
        finally:
            work.end()
            if not self.pulse.is_busy:
                self._rest()

    def condemn(self, why: str) -> None:
        if self._life:
            self._life.condemn(hung(why))

    def _rest(self) -> None:
        if self._looking:
            self._looking.cancel()
            self._looking = None

    async def _look(self, life: ChildProcess) -> None:
        while not life.is_over:
            await asyncio.sleep(min(INTERVAL, self._stall / 10))
            life.sample_memory()
            seen = await asyncio.to_thread(procstat.look, life.pid)
            if why := self.pulse.look(self.clock(), seen.cpu, seen.read):
                self.condemn(why)
                return
