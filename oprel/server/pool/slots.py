"""The places of an engine's slots: who comes first is served first, and who leaves is out of the queue.

llama-server has a queue of its own. Waiting here instead, a request's position is known, what waits is not lost with an
engine, and everything that is in the engine can be expected to move.
"""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from oprel.core.exceptions import BusyError

BUSY = "server busy, please try again.  maximum pending requests exceeded"  # Ollama's words, with both spaces
LONGEST_RETRY = 600.0  # s


class Slots:
    """`total` places. A request takes one, or several when it makes several answers."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._held: set[SlotGrant] = set()
        self._queue: deque[SlotRequest] = deque()

    @property
    def taken(self) -> int:
        return sum(held.count for held in self._held)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def taking(self, count: int) -> AsyncIterator["SlotGrant"]:
        """Inside the block `count` places are the caller's. More than there are is all of them."""
        held = SlotGrant(self)
        try:
            await self.take(SlotRequest(held, count))
            yield held
        finally:
            self._held.discard(held)
            self._serve()

    def lose(self) -> None:
        """The engine is gone: what was in it keeps its places from newcomers, but not from each other."""
        for held in self._held:
            held.is_lost = True

    async def take(self, place: "SlotRequest") -> None:
        if place.count == 0:
            return
        firsts = sum(other.first for other in self._queue)
        self._queue.insert(firsts if place.first else len(self._queue), place)
        self._serve()
        try:
            await place.given
        finally:
            if place in self._queue:
                self._queue.remove(place)

    def _serve(self) -> None:
        while self._queue and self._fits(self._queue[0]):
            place = self._queue.popleft()
            place.held.count, place.held.is_lost = place.count, False
            self._held.add(place.held)
            if not place.given.done():  # else its owner is leaving, and gives them back
                place.given.set_result(None)

    def _fits(self, place: "SlotRequest") -> bool:
        """A request for more than there is must not wait for ever: it gets all there is."""
        others = (held for held in self._held if held is not place.held)
        taken = sum(held.count for held in others if not (place.first and held.is_lost))
        return taken + place.count <= self.total or taken == 0


class SlotGrant:
    """Places that a request holds. They are lost with the engine, until the request goes on with the next one."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.count = 0
        self.is_lost = False

    async def take_all(self) -> None:
        """Have the engine alone: swap the held slots for all of them, ahead of new waiters."""
        await self.swap(self._slots.total)

    async def swap(self, count: int) -> None:
        """Swap the held slots for `count`, ahead of new waiters."""
        self.count = 0
        await self._slots.take(SlotRequest(self, count, first=True))


@dataclass(eq=False)
class SlotRequest:
    """A place in the queue. Who held places before it comes `first`."""

    held: SlotGrant
    count: int
    first: bool = False
    given: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def too_many(name: str, waiting: int, seconds_each: float) -> BusyError:
    """What a request is told that so many wait in front of, each of whom takes so long."""
    seconds = min(LONGEST_RETRY, max(1.0, waiting * seconds_each))
    again = f"Try again in some {math.ceil(seconds)} s; you would be number {waiting + 1} in the queue of {name}."
    error = BusyError(BUSY, again, "More may wait with a larger `max_queue`.")
    error.retry_after = seconds
    return error
