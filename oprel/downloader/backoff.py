"""When to try again, how long to wait before, and how fast to read. Pure except for `Throttle.take`, which waits."""

import email.utils
import random
import time
from collections.abc import Callable
from http import HTTPStatus

import anyio

from oprel.core.exceptions import DownloadError

LONGEST_WAIT = 60.0  # s between two attempts
LONGEST_PROMISE = 600.0  # s that a server may ask one transfer to wait
NOT_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class Unreachable(DownloadError):
    """A server gave no answer, or none yet: a later attempt may succeed. `seconds`: how long it asks to wait.

    `what` is not there, in a word. A client that waits is told at once unless `is_worth_waiting`.
    """

    seconds: float = 0.0
    what: str = "network"
    is_worth_waiting: bool = True


def is_passing(status: int) -> bool:
    """Whether an answer with that HTTP status says nothing about the next one."""
    return status in NOT_NOW or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def backoff(failures: int, first: float, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `failures` in a row: exponential, with jitter so that clients do not retry in step."""
    return float(min(LONGEST_WAIT, first * 2 ** (failures - 1))) * (0.5 + chance() / 2)


def retry_after(text: str, now: float) -> float | None:
    """Seconds to wait according to a `Retry-After` header, a number or a date; None if it is neither.

    `now` is in seconds since 1970.

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
    """Limits the bytes per second that all users of this object read together; a rate of 0 means no limit."""

    def __init__(self, rate: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._due = 0.0

    async def take(self, count: int) -> None:
        """Wait until the `count` bytes just read are within the rate."""
        if self.rate:
            self._due = max(self._due, self._clock()) + count / self.rate
            await anyio.sleep(self._due - self._clock())
