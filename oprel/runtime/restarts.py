"""When an engine that ended unasked may be started again. Decisions on data: no clock, no process.

The first end is followed by a start at once, so that an answer can go on; the next ones wait, twice as long each time.
After `MOST` within `WINDOW` the circuit is open: nothing is started until the oldest of them is that long ago, and then
once. What will not be better next time (a damaged file, say) is tried no more than once a minute. A serving engine that
somebody else killed has done nothing wrong: that does not count.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from oprel.runtime.exits import Exit, Reason

WINDOW = 600.0  # s
MOST = 6  # ends within the window that leave no further start
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # s
HEALTHY = 300.0  # s of service after which what was before is forgiven
HOPELESS = frozenset({Reason.FILE_CORRUPT, Reason.UNKNOWN_ARCHITECTURE, Reason.BAD_FLAG})
HOPELESS_PAUSE = 60.0  # s
JITTER = 0.2  # share of a wait


@dataclass(frozen=True)
class End:
    """An engine's unasked end. `at` in seconds of any steady clock; `served` is how long it had been ready."""

    exit: Exit
    at: float
    served: float = 0.0

    @property
    def is_foreign(self) -> bool:
        return self.exit.reason is Reason.KILLED and self.served > 0


@dataclass(frozen=True)
class Verdict:
    """Seconds until the next start; `refused` when that is too long for a request to wait for it."""

    wait: float
    refused: bool = False


def judge(ends: Sequence[End], now: float, jitter: float = 0.0) -> Verdict:
    """`ends`, oldest first; `jitter` from -1 to 1 keeps engines that died together from starting together.

    >>> died = [End(Exit(Reason.CRASH_SIGNAL, "SIGSEGV", ""), at) for at in (0.0, 1.0, 2.0)]
    >>> judge(died[:1], 0.0), judge(died, 2.0)
    (Verdict(wait=0.0, refused=False), Verdict(wait=1.0, refused=False))
    """
    counted = [end for end in _unforgiven(ends) if now - end.at < WINDOW and not end.is_foreign]
    if not counted:
        return Verdict(0.0)
    last = counted[-1]
    if last.exit.reason in HOPELESS:
        return _until(last.at + HOPELESS_PAUSE, now, refused=True)
    if len(counted) >= MOST:
        return _until(counted[-MOST].at + WINDOW, now, refused=True)
    if len(counted) == 1:
        return Verdict(0.0)
    backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (len(counted) - 2))
    return _until(last.at + backoff * (1 + JITTER * jitter), now, refused=False)


def _unforgiven(ends: Sequence[End]) -> Sequence[End]:
    """Since the last one that had served well."""
    good = [at for at, end in enumerate(ends) if end.served >= HEALTHY]
    return ends[good[-1] :] if good else ends


def _until(moment: float, now: float, *, refused: bool) -> Verdict:
    wait = max(0.0, moment - now)
    return Verdict(wait, refused and wait > 0)


@dataclass
class History:
    """The ends of one engine, across its processes."""

    ends: deque[End] = field(default_factory=lambda: deque(maxlen=2 * MOST))
