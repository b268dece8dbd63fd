"""What one request counts as in the metrics: how it ended, and when its tokens came."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from oprel.core.completion import Usage
from oprel.core.exceptions import OprelError
from oprel.server.access.record import note_tokens
from oprel.server.history.metrics import Metrics
from oprel.server.pool.loaded_model import Lease


class RequestMetrics:
    """A context in which one request is answered. Its end is the request's."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float], model: str) -> None:
        self._metrics = metrics
        self._clock = clock
        self._model = model
        self._began = self._last = clock()
        self._first: float | None = None
        self._lost_at: float | None = None
        self._queued = 0.0
        self._pieces = 0  # of an answer that is not whole

    def __enter__(self) -> "RequestMetrics":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        outcome = _outcome(error)
        note_tokens(0, self._pieces)  # a client that leaves before the end has used them all the same
        self._metrics.request(self._model, outcome, self._queued, self._first)
        if self._lost_at is not None:  # no token came after that
            self._metrics.recovery(self._model, 0.0, outcome)

    @property
    def seconds(self) -> float:
        """Since the request began."""
        return self._clock() - self._began

    def start(self, lease: Lease) -> None:
        """The request has its slot and its engine."""
        self._queued = lease.queued_ns / 1e9

    def tokens(self, count: int) -> None:
        """Pieces of the answer have come, together."""
        now = self._clock()
        self._pieces += count
        if self._first is None:
            self._first = now - self._began
        else:
            self._metrics.gaps(self._model, now - self._last)
        if count > 1:
            self._metrics.gaps(self._model, 0.0, count - 1)
        if self._lost_at is not None:
            self._metrics.recovery(self._model, now - self._lost_at)
            self._lost_at = None
        self._last = now

    def lost(self) -> None:
        """Its engine has died."""
        self._lost_at = self._clock()

    def finish(self, lease: Lease, usage: Usage) -> None:
        """The answer is whole."""
        self._pieces = 0
        note_tokens(usage.prompt_tokens, usage.completion_tokens)
        self._metrics.tokens(self._model, usage.prompt_tokens, usage.completion_tokens)
        whole = self.seconds - self._queued
        lease.loaded.pace.note(usage.completion_tokens, usage.completion_ns / 1e9, whole, usage.prompt_tokens)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    if isinstance(error, OprelError):
        return error.code
    return "client_left" if isinstance(error, GeneratorExit | asyncio.CancelledError) else "internal_error"
