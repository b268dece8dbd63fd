"""Requests that killed their engine. After the second time a request is refused, to protect all others.

Nothing shows which of the requests in an engine killed it. So after a crash each of them continues alone, and the one
whose engine dies again is to blame. Exits that no request can cause do not count (`Exit.is_blamable`).
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import orjson

from oprel.core.completion import CompletionRequest
from oprel.core.exceptions import QuarantinedError
from oprel.runtime.exits import Exit

EngineRequest = CompletionRequest | tuple[object, ...]  # the latter: texts to embed, to score or to tokenize

STRIKES = 2
LASTS = timedelta(days=1)
MOST = 256  # requests remembered; the oldest is dropped first


@dataclass(frozen=True, kw_only=True)
class QuarantinedRequest:
    """A request that ended an engine at `at`, UTC; its strikes count `until` then, as long as the model's files stay.

    `version` changes with them.
    """

    hash: str
    model: str
    version: str
    reason: str
    strikes: int
    at: datetime
    until: datetime
    engine: tuple[int, int] | None = None  # and its start: identical requests in one engine get one strike for its end


class Quarantine:
    """Owner of the strikes. They last until they are cleared or a day old, at most as long as the daemon runs."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._entries: dict[str, QuarantinedRequest] = {}

    def entries(self) -> list[QuarantinedRequest]:
        """The requests that are refused, oldest first."""
        return [entry for entry in self._current() if entry.strikes >= STRIKES]

    def check(self, model: str, request: EngineRequest, version: Callable[[], str] = str) -> None:
        """Raises QuarantinedError for a request that is refused. `version` takes a while to compute."""
        if any(entry.model == model for entry in self._current()):  # else the hash is not needed
            entry = self._entries.get(request_hash(model, request))
            if entry and entry.strikes >= STRIKES and entry.version == version():
                raise _refused(entry)

    def strike(
        self,
        model: str,
        request: EngineRequest,
        ended: Exit,
        engine: tuple[int, int] | None = None,
        version: str = "",
        *,
        is_last: bool = True,
    ) -> None:
        """The request was in `engine` when it ended. Raises QuarantinedError the second time, unless not `is_last`."""
        key, now = request_hash(model, request), self._now()
        previous = self._entries.pop(key, None)
        if previous and previous.version != version:
            previous = None
        before = previous.strikes - (engine is not None and engine == previous.engine) if previous else 0
        before = before if is_last else min(before, STRIKES - 2)
        self._entries[key] = QuarantinedRequest(
            hash=key,
            model=model,
            version=version,
            reason=f"{ended.reason.value}: {ended.detail}",
            strikes=before + 1,
            at=now,
            until=now + LASTS,
            engine=engine,
        )
        while len(self._entries) > MOST:
            del self._entries[next(iter(self._entries))]
        if self._entries[key].strikes >= STRIKES:
            raise _refused(self._entries[key])

    def clear_request(self, model: str, request: EngineRequest) -> None:
        """Remove the request's strikes: it got its answer, so it did not end the engine."""
        if any(entry.model == model for entry in self._entries.values()):
            self._entries.pop(request_hash(model, request), None)

    def clear(self, hash: str | None = None) -> int:
        """Release the requests whose hash begins with `hash`, by default all. Returns how many."""
        released = [entry.hash for entry in self.entries() if entry.hash.startswith(hash or "")]
        for key in released:
            del self._entries[key]
        return len(released)

    def _current(self) -> list[QuarantinedRequest]:
        now = self._now()
        self._entries = {key: entry for key, entry in self._entries.items() if entry.until > now}
        return list(self._entries.values())


def request_hash(model: str, request: EngineRequest) -> str:
    """16 hex digits for the model and the request without its seed, which clients choose at random."""
    content: object = request
    if isinstance(request, CompletionRequest):
        content = dataclasses.asdict(replace(request, sampling=replace(request.sampling, seed=None)))
    return hashlib.sha256(orjson.dumps([model, content], default=str)).hexdigest()[:16]


def _refused(entry: QuarantinedRequest) -> QuarantinedError:
    return QuarantinedError(
        f"this request ended its engine {entry.strikes} times ({entry.reason}), and is refused now",
        f"Change it, or run `oprel quarantine clear {entry.hash}` after replacing the engine or the model.",
    )
