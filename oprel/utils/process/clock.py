"""A clock of the event loop that notices gaps, and waits that a gap does not end. See `observed_time`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from oprel.utils.process.observed_time import LONGEST_LOOK, ObservedTime

Result = TypeVar("Result")

LOOK_INTERVAL = 1.0  # s


class Clock(ObservedTime):
    """It looks once a second while something waits by it, and inside `watched`.

    Other time counts whole, so that an idle program need not wake up. All methods belong to the event loop's thread.
    """

    def __init__(self, read: Callable[[], float] = time.monotonic, longest: float = LONGEST_LOOK) -> None:
        super().__init__(read, longest)
        self._observers: list[Callable[[float], None]] = []
        self._watchers = 0
        self._next_look: asyncio.TimerHandle | None = None

    def look(self) -> None:
        if self._watchers:
            super().look()
        else:
            self._looked = self._read()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Gaps are noticed inside the block."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    @contextlib.contextmanager
    def observed(self, on_gap: Callable[[float], None]) -> Iterator[None]:
        """Inside the block `on_gap` is called with the seconds of each gap."""
        self._observers.append(on_gap)
        try:
            yield
        finally:
            self._observers.remove(on_gap)

    def hold(self) -> None:
        """Notice gaps until `release`."""
        self.look()
        self._watchers += 1
        if self._next_look is None:
            self._look_later()

    def release(self) -> None:
        self._watchers -= 1
        if self._next_look and not self._watchers:
            self._next_look.cancel()
            self._next_look = None

    def call_later(self, seconds: float, act: Callable[[], None]) -> "Timer":
        """Call `act` when so much time has passed."""
        return Timer(self, seconds, act)

    async def sleep(self, seconds: float) -> None:
        """Return when so much time has passed."""
        over = asyncio.Event()
        timer = self.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Cancel the block when so much time has passed. Raises TimeoutError then."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:
            timer = self.call_later(seconds, lambda: limit.reschedule(loop.time()))
            try:
                yield
            finally:
                timer.cancel()

    async def wait(self, task: "asyncio.Task[Result]", seconds: float) -> None:
        """Return when the task is done, at the latest when so much time has passed."""
        with contextlib.suppress(TimeoutError):
            async with self.timeout(seconds):
                await asyncio.wait({task})

    def _look_later(self) -> None:
        self._next_look = asyncio.get_running_loop().call_later(LOOK_INTERVAL, self._look_again)

    def _look_again(self) -> None:
        self.look()
        self._look_later()

    def _note_gap(self, seconds: float) -> None:
        for on_gap in self._observers:
            on_gap(seconds)


class Timer:
    """Calls `act` once, `seconds` from now, and later by each gap until then."""

    def __init__(self, clock: Clock, seconds: float, act: Callable[[], None]) -> None:
        self._clock, self._act = clock, act
        self._loop = asyncio.get_running_loop()
        clock.hold()
        self._lost = clock.lost
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._due)

    def cancel(self) -> None:
        """Do not call it, if it was not called yet."""
        if self._handle:
            self._handle.cancel()
            self._handle = None
            self._clock.release()

    def _due(self) -> None:
        self._clock.look()
        missed, self._lost = self._clock.lost - self._lost, self._clock.lost
        # Not by the clock's time: uvloop's timers may fire a millisecond before it.
        if missed and self._handle:
            self._handle = self._loop.call_at(self._handle.when() + missed, self._due)
        else:
            self.cancel()
            self._act()
