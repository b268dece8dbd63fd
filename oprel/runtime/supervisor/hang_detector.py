"""Whether a busy engine still does something: counters that must move, and how long they may stand. Pure.

Health tells nothing of it: an engine whose decoding hangs says 200 all the same, and may spin on a core meanwhile
(ggml-org/llama.cpp #27388). Nor does silence: an honest prefill on a slow CPU takes minutes (ik_llama.cpp #1210), and a
fixed limit kills at the peak of work (gpustack #3189). So there are two limits, learned from what this engine took:

- It stands still: nothing moved and it used no CPU time, as when it was stopped or deadlocked.
- It spins: it used CPU time, but nothing moved for much longer than the slowest step so far would explain.

Time in which nobody looked does not count: a daemon that was itself suspended kills no engine for it.
"""

from dataclasses import dataclass

BATCH = 2048  # prompt tokens that llama-server computes between two events (n_batch)
UNKNOWN_TOKEN = 0.5  # s for a prompt token of an engine that has not shown its pace: a very slow CPU
UNKNOWN_STILL_TOKEN = 1 / 16  # the same without CPU time: a very slow GPU, whose driver sleeps
STILL_TIMES, STILL_STEPS, SLOW_TIMES = 4, 2, 8  # how much longer than ever before is too long
LEAST_STEP = 64  # tokens: the time of smaller steps is not that of their tokens
BUSY_CPU = 0.05  # s of CPU time that are work, not the ticking of an idle process
READ = 1 << 20  # bytes from disk that are progress: weights come in
REFUSALS = 5  # in a row
LONGEST_LOOK = 2.0  # s between two looks that count at most


@dataclass
class Pace:
    """What an engine has shown so far, across its processes. The slowest of each, in seconds."""

    token: float | None = None  # of prefill
    gap: float = 0.0  # between two tokens of an answer
    still: float = 0.0  # without CPU time, after which it went on
    reports: bool = False  # it tells how far a prefill is, after each batch


@dataclass(eq=False)
class WatchedRequest:
    """A request in the engine. `pending` prompt tokens are to be computed still, as far as is known."""

    pending: int
    patience: float  # s more than usual until its first token
    at: float  # when it last moved
    is_told: bool = False  # the engine has said how much of the prompt is to be computed
    waits: bool = True  # for the engine, and not for its own client


class HangDetector:
    """The requests in one engine process. `stall` is the least limit of an engine that spins; all times in seconds."""

    def __init__(self, stall: float, pace: Pace) -> None:
        self.pace = pace
        self._stall = stall
        self._requests: set[WatchedRequest] = set()
        self._refusals = 0
        self._quiet = 0.0  # looked at, since anything moved
        self._still = 0.0  # of that, since CPU time moved
        self._looked: float | None = None
        self._cpu, self._read = 0.0, 0

    @property
    def is_busy(self) -> bool:
        return bool(self._requests)

    @property
    def still_limit(self) -> float:
        token = UNKNOWN_STILL_TOKEN if self.pace.token is None else STILL_STEPS * self.pace.token
        return max(self._stall / 3, STILL_TIMES * self.pace.still, self._step * token) + self._patience

    @property
    def spin_limit(self) -> float:
        token = UNKNOWN_TOKEN if self.pace.token is None else SLOW_TIMES * self.pace.token
        return max(self._stall, self._step * token + SLOW_TIMES * self.pace.gap) + self._patience

    def begin(self, now: float, about_tokens: int, patience: float = 0.0) -> WatchedRequest:
        """A request is sent to the engine. That is no movement: a hung engine gets requests too."""
        if not any(request.waits for request in self._requests):
            self._rest()
        if not self._requests:
            self._looked = None
        request = WatchedRequest(about_tokens, patience, now)
        self._requests.add(request)
        return request

    def prefilled(self, request: WatchedRequest, now: float, processed: int, total: int) -> None:
        """The engine has computed so many of all tokens of the prompt; its cache counts."""
        pending = max(0, total - processed)
        step = request.pending - pending
        is_alone = self._pending == request.pending
        if request.is_told and is_alone and step >= LEAST_STEP:
            self.pace.token = max(self.pace.token or 0.0, (now - request.at) / step)
        self.pace.reports = request.is_told = True
        self._move(request, now, pending)

    def moved(self, request: WatchedRequest, now: float) -> None:
        """A token came, or anything else that is not about the prompt."""
        if self._pending == 0:
            self.pace.gap = max(self.pace.gap, self._quiet)
        request.patience = 0.0
        self._move(request, now, 0)

    def pause(self, request: WatchedRequest) -> None:
        """Nobody listens to the engine for this request: its client takes its time."""
        request.waits = False

    def resume(self, request: WatchedRequest) -> None:
        if not any(other.waits for other in self._requests):
            self._rest()
        request.waits = True

    def end(self, request: WatchedRequest) -> None:
        self._requests.discard(request)

    def refused(self) -> str | None:
        """The engine failed at a request (status 500 or above); the suspicion, if it does nothing else any more.

        No verdict: the fault may be in the requests, as with a template that fails.
        """
        self._refusals += 1
        if self._refusals < REFUSALS:
            return None
        return f"it refused {self._refusals} requests in a row, though its health is green"

    def look(self, now: float, cpu: float, read: int = 0) -> str | None:
        """The verdict on the engine, None for a good one. `cpu` seconds used and bytes `read` from disk so far."""
        passed = 0.0 if self._looked is None else min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        if not any(request.waits for request in self._requests) or read - self._read >= READ:
            self._rest()
            self._cpu, self._read = cpu, read
            return None
        self._quiet += passed
        self._still += passed
        if not 0 <= cpu - self._cpu < BUSY_CPU:
            self._still, self._cpu = 0.0, cpu
        if min(self._still, self._quiet) >= self.still_limit:
            return f"it stood still for {self._still:.1f} s: no CPU time, no token, no step of a prompt"
        if self._quiet >= self.spin_limit:
            return f"it used CPU time for {self._quiet:.1f} s without a token or a step of a prompt"
        return None

    @property
    def _patience(self) -> float:
        return max((request.patience for request in self._requests), default=0.0)

    @property
    def _pending(self) -> int:
        return sum(request.pending for request in self._requests)

    @property
    def _step(self) -> int:
        """Prompt tokens that the engine may compute before the next event."""
        return min(BATCH, self._pending) if self.pace.reports else self._pending

    def _move(self, request: WatchedRequest, now: float, pending: int) -> None:
        self.pace.still = max(self.pace.still, min(self._still, self._quiet))
        request.pending, request.at = pending, now
        self._refusals = 0
        self._rest()

    def _rest(self) -> None:
        self._quiet = self._still = 0.0
