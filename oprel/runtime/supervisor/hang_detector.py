"""Detects a hung engine by counters that stop moving, not by its health check. Pure.

The health check does not help: an engine whose decoding hangs still answers 200, and may spin on a core meanwhile
(ggml-org/llama.cpp #27388). A fixed time limit does not help either: a healthy prefill on a slow CPU takes minutes
(ik_llama.cpp #1210), and the limit would kill engines under peak load (gpustack #3189). Instead there are two limits,
learned from the steps that this engine has taken:

- It stands still: no progress, no CPU time and no wait for a CPU, as when it is stopped or deadlocked.
- It spins: it uses CPU time, but has made no progress for much longer than its slowest step so far would explain.

Only time in which the engine could work counts towards the second limit. On a machine that is busy with other programs,
or under a quota, that is the share of the CPU time that it got of what it wanted; for threads that work in step it is
the square of that share, as each of them has to wait for the others. Time between looks counts only up to
`LONGEST_LOOK`: after the daemon itself was suspended, no engine is killed for it.
"""

import math
from dataclasses import dataclass

from oprel.runtime.supervisor.procstat import ProcessStats

BATCH = 2048  # prompt tokens that llama-server computes between two progress events (n_batch)
UNKNOWN_TOKEN = 0.5  # s per prompt token before the engine's pace is measured: that of a very slow CPU
UNKNOWN_STILL_TOKEN = 1 / 16  # the same without CPU time: that of a very slow GPU, whose driver sleeps
STILL_TIMES, STILL_STEPS, SLOW_TIMES = 4, 2, 8  # how many times longer than the slowest step is too long
LEAST_STEP = 64  # tokens: in smaller steps the overhead outweighs the tokens
BUSY_CPU = 0.05  # s of CPU time, or of waiting for it, that count as work: an idle process uses less
READ = 1 << 20  # bytes from disk that count as progress: it pages weights in
REFUSALS = 5  # in a row
LOCKSTEP = 2.0  # the power of the share for threads that work in step
# s for the first prompt of a size on a GPU: drivers compile the code for it then, and say nothing meanwhile.
COMPILING = 600.0
LONGEST_LOOK = 2.0  # s between two looks that count, at most


@dataclass
class Pace:
    """The slowest steps of an engine so far, across its restarts, in seconds."""

    token: float | None = None  # of prefill, per token
    gap: float = 0.0  # between two tokens of an answer
    still: float = 0.0  # without CPU time, before it continued
    reports: bool = False  # it reports the progress of a prefill after each batch


@dataclass(eq=False, kw_only=True)
class WatchedRequest:
    """A request in the engine. `pending` is an estimate of the prompt tokens still to be computed."""

    pending: int
    extra_seconds: float  # granted until its first token
    moved_at: float
    size: int = 0  # the most tokens that were pending
    is_measured: bool = False  # `pending` is a figure of the engine
    waits: bool = True  # for the engine; False while its client is slow to read


class HangDetector:
    """Watches the requests in one engine process. `stall` (seconds) is the shortest limit for an engine that spins.

    `compiles`: it computes on a GPU.
    """

    def __init__(self, stall: float, pace: Pace, *, compiles: bool = False) -> None:
        self.pace = pace
        self._compiles = compiles
        self._compiled = 0  # tokens of the longest prompt that was answered: there is code for such a one
        self._stall = stall
        self._requests: set[WatchedRequest] = set()
        self._pending = 0  # of all requests, so that a token takes the same time however many there are
        self._waiting = 0  # requests that wait for the engine
        self._refusals = 0
        self._quiet = 0.0  # s in which it could work, since the last progress
        self._still = 0.0  # s watched since it last used CPU time, or waited for it
        self._lost = 0.0  # s in which it could not work
        self._looked: float | None = None
        self._seen = ProcessStats()  # at the last look
        self._busy, self._read = 0.0, 0  # s of CPU time and waiting, and bytes, when they last showed work

    @property
    def is_busy(self) -> bool:
        return bool(self._requests)

    @property
    def still_limit(self) -> float:
        token = UNKNOWN_STILL_TOKEN if self.pace.token is None else STILL_STEPS * self.pace.token
        return max(self._stall / 3, STILL_TIMES * self.pace.still, self._step * token) + self._extra_seconds

    @property
    def spin_limit(self) -> float:
        token = UNKNOWN_TOKEN if self.pace.token is None else SLOW_TIMES * self.pace.token
        return max(self._stall, self._step * token + SLOW_TIMES * self.pace.gap) + self._extra_seconds

    def begin(self, now: float, about_tokens: int, extra_seconds: float = 0.0) -> WatchedRequest:
        """A request is sent to the engine. That is not progress: a hung engine gets requests too."""
        if not self._requests:
            self._looked = None
        if self._compiles and about_tokens > self._compiled:
            extra_seconds += COMPILING
        request = WatchedRequest(pending=0, extra_seconds=extra_seconds, moved_at=now - self._lost, waits=False)
        self._requests.add(request)
        self._note_pending(request, about_tokens)
        self.resume(request)
        return request

    def prefilled(self, request: WatchedRequest, now: float, processed: int, total: int) -> None:
        """The engine has computed `processed` of all `total` tokens of the prompt, cached ones included."""
        pending = max(0, total - processed)
        step = request.pending - pending
        is_alone = self._pending == request.pending
        if request.is_measured and is_alone and step >= LEAST_STEP:
            self.pace.token = max(self.pace.token or 0.0, (now - self._lost - request.moved_at) / step)
        self.pace.reports = request.is_measured = True
        self._move(request, now, pending)

    def moved(self, request: WatchedRequest, now: float) -> None:
        """A token arrived, or anything else after the prompt."""
        if self._pending == 0:
            self.pace.gap = max(self.pace.gap, self._quiet)
        request.extra_seconds = 0.0
        self._compiled = max(self._compiled, request.size)
        self._move(request, now, 0)

    def pause(self, request: WatchedRequest) -> None:
        """The client of the request is slow to read: the engine is not expected to move."""
        self._waiting -= request.waits
        request.waits = False

    def resume(self, request: WatchedRequest) -> None:
        """The client has read everything."""
        if not self._waiting:
            self._rest()
        self._waiting += not request.waits
        request.waits = True

    def end(self, request: WatchedRequest) -> None:
        self._note_pending(request, 0)
        self.pause(request)
        self._requests.discard(request)

    def refused(self) -> str | None:
        """The engine failed a request (status 500 or above); the reason to suspect it, after several in a row.

        This is not a verdict: the requests may be at fault, as when a template fails.
        """
        self._refusals += 1
        if self._refusals < REFUSALS:
            return None
        return f"it refused {self._refusals} requests in a row, though its health is green"

    def look(self, now: float, stats: ProcessStats) -> str | None:
        """Why the engine counts as hung, or None."""
        elapsed = 0.0 if self._looked is None else now - self._looked
        share = usable_share(self._seen, stats, elapsed)
        self._looked, self._seen = now, stats
        busy = stats.cpu + stats.waited
        if not self._waiting or stats.read - self._read >= READ:
            self._rest()
            self._busy, self._read = busy, stats.read
            return None
        passed = min(elapsed, LONGEST_LOOK)
        self._quiet += passed * share
        self._lost += passed * (1 - share)
        self._still += passed
        if not 0 <= busy - self._busy < BUSY_CPU:
            self._still, self._busy = 0.0, busy
        if self._still >= self.still_limit:
            return f"it stood still for {self._still:.1f} s: no CPU time, no token, no step of a prompt"
        if self._quiet >= self.spin_limit:
            return f"it used CPU time for {self._quiet:.1f} s without a token or a step of a prompt"
        return None

    @property
    def _extra_seconds(self) -> float:
        return max((request.extra_seconds for request in self._requests), default=0.0)

    @property
    def _step(self) -> int:
        """The most prompt tokens that the engine may compute before its next event."""
        return min(BATCH, self._pending) if self.pace.reports else self._pending

    def _move(self, request: WatchedRequest, now: float, pending: int) -> None:
        self.pace.still = max(self.pace.still, self._still)
        request.moved_at = now - self._lost
        self._note_pending(request, pending)
        self._refusals = 0
        self._rest()

    def _note_pending(self, request: WatchedRequest, pending: int) -> None:
        self._pending += pending - request.pending
        request.size = max(request.size, pending)
        request.pending = pending

    def _rest(self) -> None:
        self._quiet = self._still = 0.0


def usable_share(before: ProcessStats, after: ProcessStats, elapsed: float) -> float:
    """The part of the time between two looks in which the engine could work, from 0 to 1.

    >>> usable_share(ProcessStats(), ProcessStats(1.0), elapsed=1.0)
    1.0
    >>> usable_share(ProcessStats(), ProcessStats(0.25, waited=0.75), elapsed=1.0)  # one thread, on a busy machine
    0.25
    >>> usable_share(ProcessStats(), ProcessStats(1.0, waited=3.0), elapsed=1.0)  # four threads
    0.0625
    """
    if elapsed <= 0:
        return 1.0
    used = max(0.0, after.cpu - before.cpu)
    if before.throttled or after.throttled:  # only the time counts in which a thread was running
        return min(1.0, used / elapsed)
    wanted = used + max(0.0, after.waited - before.waited)
    if wanted <= BUSY_CPU * elapsed:
        return 1.0  # it wants no CPU time: it waits for a GPU, or for nothing
    threads = wanted / elapsed
    return math.pow(used / wanted, min(LOCKSTEP, max(1.0, threads)))
