"""One lock for each engine, with a bounded number of waiters."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable

from oprel.core.exceptions import BusyError
from oprel.server.pool.load_decision import Key


class EngineLocks:
    """Joining, replacing and unloading an engine happen under its lock."""

    def __init__(self) -> None:
        self._locks: defaultdict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._callers: Counter[Key] = Counter()

    def of(self, key: Key) -> asyncio.Lock:
        return self._locks[key]

    @contextlib.asynccontextmanager
    async def held(self, key: Key, most: int, refusal: Callable[[int], BusyError]) -> AsyncIterator[None]:
        """Hold the lock. Raises `refusal(callers)` at once where `most` callers hold it or wait for it."""
        if self._callers[key] >= most:
            raise refusal(self._callers[key])
        self._callers[key] += 1
        try:
            async with self._locks[key]:
                yield
        finally:
            self._callers[key] -= 1
