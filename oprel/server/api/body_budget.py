"""How much memory the bodies of all requests may take together, from their arrival to the end of their answers."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from oprel.core.exceptions import BusyError
from oprel.server.api import request_limits as limits


class BodyBudget:
    """Bytes of large bodies. One that arrives waits while there are too many, so that all fit into the memory.

    The body that came first may always go on: it makes no sense that all wait for each other.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._arriving: list[Body] = []  # in the order of their first bytes
        self._changed = asyncio.Event()

    @contextmanager
    def body(self) -> Iterator["Body"]:
        """A request's body, for the time of the block."""
        body = Body(self)
        try:
            yield body
        finally:
            self.arrived(body)
            self._hold(-body.held)

    async def hold(self, body: "Body", size: int) -> None:
        """Have `size` more bytes for the body. Raises BusyError after a wait."""
        if body not in self._arriving:
            self._arriving.append(body)
        try:
            async with asyncio.timeout(limits.BUDGET_SECONDS):
                while self._held + size > self._most and self._arriving[0] is not body:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BusyError("other requests are too large to take this one", "Try again.") from None
        body.held += size
        self._hold(size)

    def arrived(self, body: "Body") -> None:
        """All of the body is there, or no more of it will come."""
        if body in self._arriving:
            self._arriving.remove(body)
            self._changed.set()

    def _hold(self, size: int) -> None:
        self._held += size
        if size < 0:
            self._changed.set()


@dataclass(eq=False)
class Body:
    """The bytes of one body that the budget counts. Small ones are not worth it."""

    budget: BodyBudget
    held: int = field(default=0, init=False)

    async def grow(self, size: int) -> None:
        """The body has `size` bytes by now. Waits for the budget. Raises BusyError."""
        if size > max(self.held, limits.SMALL_BYTES):
            await self.budget.hold(self, size - self.held)

    def arrived(self) -> None:
        """The body is complete."""
        self.budget.arrived(self)
