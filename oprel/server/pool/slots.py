"""The slots of an engine, the cells of its KV cache, and the queue for them: first come, first served.

llama-server has a queue of its own. Requests wait here instead: their position is known, they are not lost with an
engine, and every request in the engine can be expected to make progress.

All slots share the cells; a token takes one. When they run out, llama-server (b11549) fails every running request. So
each request reserves its cells here, and never uses more (`inference/cells`).
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
    """The `total` slots of an engine, which share `cells`.

    A request holds one slot, or several if it makes several answers, and an equal share of the cells for each, unless
    it needs more. `most_in_use`: the most slots that were held at the same time since the engine's start.
    """

    def __init__(self, total: int, cells: int) -> None:
        self.total = total
        self.cells = cells
        self.most_in_use = 0
        self._grants: set[SlotGrant] = set()
        self._queue: deque[SlotRequest] = deque()

    def resize(self, total: int, cells: int) -> None:
        """The next engine has so many. What is held counts as lost.

        A share of its cells for each slot is the most that a request now has or waits for; it may reserve more again.
        """
        self.total, self.cells = total, cells
        self.lose()
        for grant in {*self._grants, *(request.grant for request in self._queue)}:
            grant.limit(total, self.share)
        for request in self._queue:
            request.limit(total, self.share)
        self._serve()

    @property
    def in_use(self) -> int:
        return sum(grant.count for grant in self._grants)

    @property
    def share(self) -> int:
        """Cells for each slot, if all have as many."""
        return self.cells // self.total

    @property
    def free_cells(self) -> int:
        return self.cells - sum(grant.cells for grant in self._grants)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def hold(self, count: int) -> AsyncIterator["SlotGrant"]:
        """Inside the block the caller holds `count` slots, or all of them if there are fewer."""
        grant = SlotGrant(self, count, count * self.share)
        try:
            await self.acquire(SlotRequest(grant, grant.own_count, grant.own_cells))
            yield grant
        finally:
            self._grants.discard(grant)
            self._serve()

    def lose(self) -> None:
        """The engine has ended. Its requests keep their slots ahead of new ones, but not ahead of each other."""
        for grant in self._grants:
            grant.is_lost = True

    async def acquire(self, request: "SlotRequest") -> None:
        """Wait until the slots are free. A request with `priority` waits only for others with priority."""
        if request.count == 0:
            return
        ahead = sum(other.priority for other in self._queue)
        self._queue.insert(ahead if request.priority else len(self._queue), request)
        self._serve()
        try:
            await request.granted
        finally:
            if request in self._queue:
                self._queue.remove(request)

    def _serve(self) -> None:
        while self._queue and self._fits(self._queue[0]):
            request = self._queue.popleft()
            request.grant.receive(request.count, min(request.cells, self.cells))
            self._grants.add(request.grant)
            self.most_in_use = max(self.most_in_use, self.in_use)
            if not request.granted.done():  # else its owner was cancelled, and returns the slots
                request.granted.set_result(None)

    def _fits(self, request: "SlotRequest") -> bool:
        """A request for more than there is gets all of it, rather than wait forever."""
        others = [grant for grant in self._grants if grant is not request.grant]
        others = [grant for grant in others if not (request.priority and grant.is_lost)]
        in_use, cells = sum(grant.count for grant in others), sum(grant.cells for grant in others)
        return in_use == 0 or (in_use + request.count <= self.total and cells + request.cells <= self.cells)


class SlotGrant:
    """The slots that a request holds, and their cells.

    They are lost with the engine, until the request continues on the next one. `own_count` and `own_cells` are what it
    holds or waits for, unless it has the whole engine for a while.
    """

    def __init__(self, slots: Slots, count: int, cells: int) -> None:
        self._slots = slots
        self.own_count, self.own_cells = count, cells
        self.count = self.cells = 0
        self.is_lost = False

    def receive(self, count: int, cells: int) -> None:
        """Hold these from now on."""
        self.count, self.cells, self.is_lost = count, cells, False
        self.own_cells = min(self.own_cells, cells)

    def limit(self, total: int, share: int) -> None:
        """Have no more than `total` slots, and a `share` of the cells for each."""
        self.count, self.cells = _limited(self.count, self.cells, total, share)
        self.own_count, self.own_cells = _limited(self.own_count, self.own_cells, total, share)

    def grow(self, most: int, *, leaving: int = 0) -> bool:
        """Take free cells but `leaving`, up to `most` in all. False if none is free, or others wait for them."""
        free = 0 if self._slots.waiting else self._slots.free_cells - leaving
        more = min(free, most - self.cells)
        if more > 0:
            self.cells += more
            self.own_cells = self.cells
        return more > 0

    async def take_all(self) -> None:
        """Swap what is held for all slots and cells of the engine, ahead of new waiters."""
        await self._swap(self._slots.total, self._slots.cells)

    async def settle(self) -> None:
        """The engine is ready. What was lost at an earlier start is held again, ahead of new waiters."""
        if self.is_lost:
            await self._swap(self.count, self.cells)

    async def take_own(self) -> None:
        """Swap what is held, or was lost, for what is its own."""
        await self._swap(self.own_count, self.own_cells)

    async def swap(self, count: int, cells: int) -> None:
        """Swap what is held for `count` slots and so many cells, ahead of new waiters."""
        self.own_count, self.own_cells = count, cells
        await self.take_own()

    async def _swap(self, count: int, cells: int) -> None:
        self.count = self.cells = 0
        await self._slots.acquire(SlotRequest(self, count, cells, priority=True))


@dataclass(eq=False)
class SlotRequest:
    """An entry of the queue. One that held slots before has `priority`."""

    grant: SlotGrant
    count: int
    cells: int
    priority: bool = False
    granted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def limit(self, total: int, share: int) -> None:
        """Wait for no more than `total` slots, and a `share` of the cells for each."""
        self.count, self.cells = _limited(self.count, self.cells, total, share)


def _limited(count: int, cells: int, total: int, share: int) -> tuple[int, int]:
    count = min(count, total)
    return count, min(cells, count * share)


def too_many(name: str, waiting: int, seconds_each: float) -> BusyError:
    """The error for a request when `waiting` others are ahead of it, each of which takes `seconds_each`."""
    seconds = min(LONGEST_RETRY, max(1.0, waiting * seconds_each))
    again = f"Try again in about {math.ceil(seconds)} s; you would be number {waiting + 1} in the queue of {name}."
    error = BusyError(BUSY, again, "A larger `max_queue` lets more requests wait.")
    error.retry_after = seconds
    return error
