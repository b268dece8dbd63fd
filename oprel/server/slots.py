"""The places of an engine's slots: who comes first is served first, and who leaves is out of the queue.

llama-server has a queue of its own. Waiting here instead, a request's position is known, what waits is not lost with an
engine, and everything that is in the engine can be expected to move.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from oprel.core.exceptions import BusyError

BUSY = "server busy, please try again.  maximum pending requests exceeded"  # Ollama's words, with both spaces
LONGEST_RETRY = 600.0  # s


class Slots:
    """`total` places. A request takes one, or several when it makes several answers."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def take(self, count: int, *, instead_of: int = 0) -> None:
        """Return once `count` places are the caller's. More than there are is all of them.

        Who gives back others `instead_of` which they are comes before all who wait.
        """
        if count == 0:
            return
        self._taken -= instead_of
        if self._fits(count) and (instead_of or not self._queue):
            self._taken += count
            return
        place = count, asyncio.get_running_loop().create_future()
        self._queue.insert(0 if instead_of else len(self._queue), place)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
                self._serve()
            else:
                self.give_back(count)
            raise

    def give_back(self, count: int) -> None:
        self._taken -= count
        self._serve()

    @contextlib.asynccontextmanager
    async def taking(self, count: int) -> AsyncIterator["Held"]:
        await self.take(count)
        held = Held(self, count)
        try:
            yield held
        finally:
            self.give_back(held.count)

    def _fits(self, count: int) -> bool:
        """A request for more than there is must not wait for ever: it gets all there is."""
        return self._taken + count <= self.total or self._taken == 0

    def _serve(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            count, place = self._queue.popleft()
            self._taken += count
            if not place.done():  # else its owner is leaving, and gives them back
                place.set_result(None)


class Held:
    """Places that a request holds."""

    def __init__(self, slots: Slots, count: int) -> None:
        self._slots = slots
        self.count = count

    async def all_of_them(self) -> None:
        """Have the engine alone: every place, before all who wait."""
        count, self.count = self.count, 0
        every = self._slots.total  # fewer once the engine is started with less, but so many are taken
        await self._slots.take(every, instead_of=count)
        self.count = every


def too_many(name: str, waiting: int, seconds_each: float) -> BusyError:
    """What a request is told that so many wait in front of, each of whom takes so long."""
    error = BusyError(BUSY, f"You would be number {waiting + 1} in the queue of {name}: see `max_queue`.")
    error.retry_after = min(LONGEST_RETRY, max(1.0, waiting * seconds_each))
    return error
