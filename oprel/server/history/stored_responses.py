"""Answers of OpenAI's Responses API, to which a later request refers by their ids."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST_RESPONSES = 2000
MOST_BYTES = 32 * 2**20
SECONDS = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class StoredResponse:
    """`items` are the JSON of its output items by their ids. `caller`: who alone may refer to them."""

    caller: str
    items: Mapping[str, bytes]
    at: float

    @property
    def size_bytes(self) -> int:
        return sum(len(name) + len(item) for name, item in self.items.items())


class StoredResponses:
    """Owner of the last responses, for a day at most; the oldest is dropped first. A restart forgets them."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        most: int = MOST_RESPONSES,
        most_bytes: int = MOST_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        self._clock = clock
        self._most, self._most_bytes, self._seconds = most, most_bytes, seconds
        self._responses: dict[str, StoredResponse] = {}  # by id, oldest first
        self._owners: dict[str, str] = {}  # item -> response
        self._bytes = 0

    def of(self, caller: str | None) -> "CallersResponses":
        return CallersResponses(self, caller)

    def put(self, caller: str, id: str, items: Mapping[str, bytes]) -> None:
        self._drop(id)
        response = StoredResponse(caller=caller, items=dict(items), at=self._clock())
        self._responses[id] = response
        self._owners |= dict.fromkeys(response.items, id)
        self._bytes += response.size_bytes
        self._drop_oldest()

    def item(self, caller: str, id: str) -> bytes | None:
        """The JSON of an output item; None if it was never kept, or not until now, or for another caller."""
        self._drop_oldest()
        response = self._responses.get(self._owners.get(id, ""))
        return response.items[id] if response and response.caller == caller else None

    def _drop_oldest(self) -> None:
        limit = self._clock() - self._seconds
        while self._responses:
            oldest = next(iter(self._responses))
            within = len(self._responses) <= self._most and self._bytes <= self._most_bytes
            if within and self._responses[oldest].at > limit:
                return
            self._drop(oldest)

    def _drop(self, id: str) -> None:
        if response := self._responses.pop(id, None):
            self._bytes -= response.size_bytes
            for item in response.items:
                self._owners.pop(item, None)


@dataclass(frozen=True)
class CallersResponses:
    """Those of one caller; None, who cannot be told apart from others, has none."""

    stored: StoredResponses
    caller: str | None

    def put(self, id: str, items: Mapping[str, bytes]) -> None:
        if self.caller is not None:
            self.stored.put(self.caller, id, items)

    def item(self, id: str) -> bytes | None:
        return None if self.caller is None else self.stored.item(self.caller, id)
