"""Time in which this process could run, for loops that look at it often.

Clocks go on while a laptop is suspended, a container is paused, a machine lies in a snapshot, or Ctrl-Z has stopped a
program. After such a gap every deadline seems to be over, though nothing had the time to meet it. Here a gap does not
count. `clock` has the same for an event loop.
"""

import time
from collections.abc import Callable

LONGEST_LOOK = 2.0  # s between two looks; what is longer is a gap


class ObservedTime:
    """Seconds of `read`, a steady clock, without gaps. Each call is a look: call it once a second or more.

    Time between two looks that is longer than `longest` does not count at all. That may also be time in which a busy
    machine did not let this process run. `math.inf`: all time counts, as for a clock that tests set.
    """

    def __init__(self, read: Callable[[], float] = time.monotonic, longest: float = LONGEST_LOOK) -> None:
        self.lost = 0.0  # s of all gaps
        self._read, self._longest = read, longest
        self._looked = read()

    def __call__(self) -> float:
        self.look()
        return self._looked - self.lost

    def look(self) -> None:
        """Notice a gap."""
        before, self._looked = self._looked, self._read()
        if (gap := self._looked - before) > self._longest:
            self.lost += gap
            self._note_gap(gap)

    def _note_gap(self, seconds: float) -> None:
        """For subclasses."""
