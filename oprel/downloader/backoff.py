"""When to try again, how long to wait before, and how fast to read. Pure except for `Throttle.take`, which waits."""

import email.utils
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import anyio

from oprel.core.configuration.rates import HourlyRate, rate_at
from oprel.core.exceptions import DownloadError

LONGEST_WAIT = 60.0  # s between two attempts
LONGEST_PROMISE = 600.0  # s that a server may ask one transfer to wait
NOT_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class Unreachable(DownloadError):
    """A server gave no answer, or none yet: a later attempt may succeed. `seconds`: how long it asks to wait.

    `what` is not there, in a word. A client that waits is told at once unless `is_worth_waiting`. `is_momentary`: the
    server was reached, but is busy, or the connection broke. `is_slow`: further attempts take long, too.
    """

    seconds: float = 0.0
    what: str = "network"
    is_worth_waiting: bool = True
    is_momentary: bool = False
    is_slow: bool = False


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
    """Limits the bytes per second that all users of this object read together."""

    def __init__(self, rates: Sequence[HourlyRate] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`rates`: by the hour of this machine's local time; without any there is no limit."""
        self._rates = rates if any(rate.bytes_per_second for rate in rates) else ()
        self._clock = clock
        self._due = 0.0

    @property
    def limits(self) -> bool:
        """Whether there is a limit at some hour."""
        return bool(self._rates)

    async def take(self, count: int) -> None:
        """Wait until the `count` bytes just read are within the rate."""
        if rate := rate_at(self._rates, time.localtime().tm_hour):
            self._due = max(self._due, self._clock()) + count / rate
            await anyio.sleep(self._due - self._clock())
