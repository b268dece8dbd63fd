"""How long to wait before asking again, and how fast to read. Pure but for `Throttle.take`, which waits."""

import email.utils
import random
import time
from collections.abc import Callable

import anyio

LONGEST_WAIT = 60.0  # s between two tries
LONGEST_PROMISE = 600.0  # s that a server may ask us to wait for; longer is for a person to decide


def backoff(failures: int, first: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds after so many failures in a row: doubled each time, and spread so that many do not come at once."""
    return float(min(LONGEST_WAIT, first * 2 ** (failures - 1))) * (0.5 + chance() / 2)


def retry_after(text: str, now: float) -> float | None:
    """Seconds that a `Retry-After` asks for, a number or a date; None where it says nothing. `now` is since 1970.

    >>> retry_after("2", 0.0), retry_after("Thu, 01 Jan 1970 00:00:09 GMT", 5.0), retry_after("soon", 0.0)
    (2.0, 4.0, None)
    """
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


class Throttle:
    """Bytes per second that all who share this may read together; 0 for as many as come."""

    def __init__(self, rate: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._due = 0.0

    async def take(self, count: int) -> None:
        """Wait until `count` bytes that were read are within the rate."""
        if self.rate:
            self._due = max(self._due, self._clock()) + count / self.rate
            await anyio.sleep(self._due - self._clock())
