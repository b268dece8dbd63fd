"""When an engine that ended by itself may be started again. Decisions on data: no clock, no process.

After the first end it is started at once, so that an answer can go on; after the next ones it waits, twice as long each
time. After `MOST` ends within `WINDOW` the circuit opens: nothing is started until the oldest of them is that long ago,
and then once. `Restart.HOPELESS` ends (a damaged file, say) allow at most one start a minute. A serving engine that
something else killed did nothing wrong: that end does not count.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from oprel.runtime.exits import Exit, Restart

WINDOW = 600.0  # s
MOST = 6  # ends within the window that leave no further start
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # s
HEALTHY = 300.0  # s of service that clear the earlier ends
HOPELESS_PAUSE = 60.0  # s
JITTER = 0.2  # share of a wait


@dataclass(frozen=True)
class End:
    """An end that oprel did not ask for. `at` is in seconds of any steady clock; `served` is the time spent ready."""

    exit: Exit
    at: float
    served: float = 0.0

    @property
    def is_external(self) -> bool:
        return self.exit.restart is Restart.EXTERNAL and self.served > 0


@dataclass(frozen=True)
class Verdict:
    """Seconds until the next start; `refused` when that is too long for a request to wait for it."""

    wait: float
    refused: bool = False


def judge(ends: Iterable[End], now: float, jitter: float = 0.0) -> Verdict:
    """`ends`, oldest first; `jitter` from -1 to 1 keeps engines that died together from starting together.

    >>> from oprel.runtime.exits import Reason
    >>> died = [End(Exit(Reason.CRASH_SIGNAL, "SIGSEGV", ""), at) for at in (0.0, 1.0, 2.0)]
    >>> judge(died[:1], 0.0), judge(died, 2.0)
    (Verdict(wait=0.0, refused=False), Verdict(wait=1.0, refused=False))
    """
    counted = [end for end in _since_healthy(ends) if now - end.at < WINDOW and not end.is_external]
    if not counted:
        return Verdict(0.0)
    last = counted[-1]
    if last.exit.restart is Restart.HOPELESS:
        return _until(last.at + HOPELESS_PAUSE, now, refused=True)
    if len(counted) >= MOST:
        return _until(counted[-MOST].at + WINDOW, now, refused=True)
    if len(counted) == 1:
        return Verdict(0.0)
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (len(counted) - 2))
    return _until(last.at + backoff * (1 + JITTER * jitter), now, refused=False)


def _since_healthy(ends: Iterable[End]) -> list[End]:
    """The ends from the last one that came after long service."""
    counted = list[End]()
    for end in ends:
        if end.served >= HEALTHY:
            counted.clear()
        counted.append(end)
    return counted


def _until(moment: float, now: float, *, refused: bool) -> Verdict:
    wait = max(0.0, moment - now)
    return Verdict(wait, refused and wait > 0)


@dataclass
class History:
    """The ends of one engine, across its processes."""

    ends: deque[End] = field(default_factory=lambda: deque(maxlen=2 * MOST))
