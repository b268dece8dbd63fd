"""Requests that killed their engine: one that did so twice is refused, so that it does not kill it for all others.

Which of the requests in an engine has killed it nobody can see. So after a crash each of them goes on alone, and the
one that kills its engine again has done it. Engines that somebody else killed count for nothing.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from oprel.core.completion import CompletionRequest
from oprel.core.exceptions import QuarantinedError
from oprel.runtime.exits import Exit, Reason

Asked = CompletionRequest | tuple[object, ...]  # the latter: what is embedded, scored or tokenized

STRIKES = 2
LASTS = timedelta(days=1)
MOST = 256  # requests remembered; the oldest goes first


@dataclass(frozen=True)
class QuarantinedRequest:
    """A request that ended an engine at `at`, UTC; it is held against it `until` then."""

    hash: str
    model: str
    reason: str
    strikes: int
    at: datetime
    until: datetime
    engine: tuple[int, int] | None = None  # and its start: each end counts once, though several asked the same


def is_blamable(ended: Exit) -> bool:
    """Whether a request may have ended its engine so: not one killed from outside, or short of memory."""
    return ended.reason not in (Reason.KILLED, Reason.OUT_OF_MEMORY)


class Quarantine:
    """Owner of the strikes; they last for the daemon's life, or until they are cleared or a day old."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._entries: dict[str, QuarantinedRequest] = {}

    def entries(self) -> list[QuarantinedRequest]:
        """Those that are refused, oldest first."""
        return [entry for entry in self._current() if entry.strikes >= STRIKES]

    def check(self, model: str, request: Asked) -> None:
        """Raises QuarantinedError for a request that is refused."""
        if any(entry.model == model for entry in self._current()):  # else no request needs to be hashed
            entry = self._entries.get(request_hash(model, request))
            if entry and entry.strikes >= STRIKES:
                raise _refused(entry)

    def strike(self, model: str, request: Asked, ended: Exit, engine: tuple[int, int] | None = None) -> None:
        """The request was in that engine, which ended so. Raises QuarantinedError at the second time."""
        key, now = request_hash(model, request), self._now()
        known = self._entries.pop(key, None)
        before = known.strikes - (engine is not None and engine == known.engine) if known else 0
        reason = f"{ended.reason.value}: {ended.detail}"
        self._entries[key] = QuarantinedRequest(key, model, reason, before + 1, now, now + LASTS, engine)
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]
        if self._entries[key].strikes >= STRIKES:
            raise _refused(self._entries[key])

    def absolve(self, model: str, request: Asked) -> None:
        """It was answered: it was not what ended the engine."""
        if any(entry.model == model for entry in self._entries.values()):
            self._entries.pop(request_hash(model, request), None)

    def clear(self, hash: str | None = None) -> int:
        """Let go the requests whose hash begins so, or all of them; how many there were."""
        gone = [entry.hash for entry in self.entries() if entry.hash.startswith(hash or "")]
        for key in gone:
            del self._entries[key]
        return len(gone)

    def _current(self) -> list[QuarantinedRequest]:
        now = self._now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.until > now}
        return list(self._entries.values())


def request_hash(model: str, request: Asked) -> str:
    """16 hex digits of what is asked of which model; the seed does not count, which clients choose at random."""
    asked: object = request
    if isinstance(request, CompletionRequest):
        asked = dataclasses.asdict(replace(request, sampling=replace(request.sampling, seed=None)))
    return hashlib.sha256(orjson.dumps([model, asked], default=str)).hexdigest()[:16]


def _refused(entry: QuarantinedRequest) -> QuarantinedError:
    return QuarantinedError(
        f"this request ended its engine {entry.strikes} times ({entry.reason}), and is not asked again",
        f"Change it; or run `oprel quarantine clear {entry.hash}` once the engine or the model was replaced.",
    )
