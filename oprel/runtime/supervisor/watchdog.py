"""Watches an engine while it has work. Kills it when `hang_detector` says that it hangs, or when it outgrows its plan.

An engine may go on with a request whose client has left, such as a template that loops: it is watched until it uses no
CPU time any more, and may use as much of it as the request would have been granted.
What follows is the same as after a crash: its streams break off, and the answers continue with a new engine.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from oprel.runtime.exits import hung
from oprel.runtime.supervisor import procstat
from oprel.runtime.supervisor.child import ChildProcess
from oprel.runtime.supervisor.hang_detector import BUSY_CPU, HangDetector, Pace
from oprel.utils.process.clock import Clock

INTERVAL = 0.5  # s, the longest time between looks


class WatchedWork:
    """A request in the engine. Its sender reports progress (see the protocol `Work`)."""

    def __init__(self, watchdog: "Watchdog", about_tokens: int, extra_seconds: float) -> None:
        self._watchdog, self._detector = watchdog, watchdog.detector
        self._request = self._detector.begin(watchdog.clock(), about_tokens, extra_seconds)

    def prefilled(self, processed: int, total: int) -> None:
        """The engine has computed `processed` of all `total` tokens of the prompt, cached ones included."""
        self._detector.prefilled(self._request, self._watchdog.clock(), processed, total)

    def moved(self) -> None:
        """A token arrived, or anything else that shows progress."""
        self._detector.moved(self._request, self._watchdog.clock())

    def refused(self) -> str | None:
        """The engine failed the request with a status of 500 or above; the reason to suspect it, if there is one."""
        return self._detector.refused()

    def kill_as(self, why: str) -> None:
        """Kill the engine, which does not work for the reason `why`."""
        self._watchdog.kill_as(why)

    def end(self) -> None:
        self._detector.end(self._request)

    def pause(self) -> None:
        """The client is slow to read from now on, and the engine is not expected to move."""
        self._detector.pause(self._request)

    def resume(self) -> None:
        """The client has read everything."""
        self._detector.resume(self._request)


class Watchdog:
    """Watches one engine at a time, only while it has work. `stall` in seconds; see `HangDetector`."""

    def __init__(self, stall: float, pace: Pace, clock: Clock) -> None:
        self.clock = clock
        self._stall, self._pace = stall, pace
        self._child: ChildProcess | None = None
        self._rests = False
        self._timer: asyncio.TimerHandle | None = None  # until the first look: most requests are over before it
        self._looking: asyncio.Task[None] | None = None
        self.detector = HangDetector(stall, pace)

    def begin(self, child: ChildProcess, *, compiles: bool = False, rests: bool = False) -> None:
        """A new process is ready. The work of the previous one does not count for it.

        `compiles`: it uses a GPU. `rests`: it uses no CPU time without work.
        """
        self.rest()
        self._child, self._rests = child, rests
        self.detector = HangDetector(self._stall, self._pace, compiles=compiles)

    @contextlib.contextmanager
    def at_work(self, about_tokens: int, extra_seconds: float) -> Iterator[WatchedWork]:
        work = WatchedWork(self, about_tokens, extra_seconds)
        if not self._timer and (self._looking is None or self._looking.done()) and self._child:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._start_looking, self._child)
        try:
            with self.clock.watched():
                yield work
        finally:
            work.end()

    def kill_as(self, why: str) -> None:
        if self._child:
            self._child.kill_as(hung(why))

    @property
    def _interval(self) -> float:
        return min(INTERVAL, self._stall / 10)

    def rest(self) -> None:
        """Look no more, until the next request."""
        if self._timer:
            self._timer.cancel()
        if self._looking:
            self._looking.cancel()
        self._timer = self._looking = None

    def _start_looking(self, child: ChildProcess) -> None:
        self._timer, self._looking = None, asyncio.create_task(self._look(child), name=f"look at {child.pid}")

    async def _look(self, child: ChildProcess) -> None:
        before, for_nobody, limit = procstat.ProcessStats(), 0.0, self._stall
        while not child.has_exited:
            child.sample_memory()
            stats = await asyncio.to_thread(procstat.look, child.pid)
            if child.bound_memory(stats.private):
                return
            if why := self.detector.look(self.clock(), stats):
                self.kill_as(why)
                return
            used = min(stats.cpu - before.cpu, 2 * self._interval)  # whatever it used before, and with many threads
            if self.detector.is_busy:
                for_nobody, limit = 0.0, self.detector.spin_limit
            elif used + stats.waited - before.waited < BUSY_CPU:
                return
            elif (for_nobody := for_nobody + used) > limit and self._rests:
                self.kill_as(f"it used CPU time for {for_nobody:.1f} s after its clients had left")
                return
            before = stats
            await asyncio.sleep(self._interval)
