"""Asks a server again that is busy, or whose connection broke: questions have the patience that transfers have.

`tell_waits` names the function to call when a download waits.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import TypeVar

import anyio
import httpx

from oprel.downloader.backoff import Unreachable, backoff, is_passing, retry_after
from oprel.downloader.network.failures import BusyProxy, is_passing_failure

logger = logging.getLogger(__name__)

TRIES = 4
SLOW_TRIES = 2  # where each takes long
NOTICEABLE = 1.0  # s: the shortest wait that is shown to the user
FIRST_WAIT = 0.5  # s
LONGEST_WAIT = 20.0  # s that a server may ask for; beyond it the user is told, and a kept download waits on its own
BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, BusyProxy)  # of a server that was reached
Result = TypeVar("Result")
_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


def tell_waits(listener: Callable[[str], object]) -> None:
    """Call `listener`, from any thread, with the reason of each noticeable wait in this context, its threads too."""
    _listener.set(listener)


def announce(why: str, seconds: float, *, was_silent: bool = False) -> None:
    """Show the user why the next attempt is `seconds` away. `was_silent`: the last one took long for nothing."""
    logger.info("%s; next attempt in %.1f s", why, seconds)
    if (listener := _listener.get()) and (was_silent or seconds >= NOTICEABLE):
        listener(f"{why}; next attempt in {max(seconds, 1.0):.0f} s")


def unreachable(message: str, error: Exception, *steps: str) -> Unreachable:
    """The error for a request without an answer."""
    failure = Unreachable(message, *steps)
    failure.is_slow = isinstance(error, httpx.ReadTimeout) or is_passing_failure(error)
    failure.is_momentary = failure.is_slow or isinstance(error, BROKEN)
    return failure


def busy(message: str, status: int, headers: Mapping[str, str], *steps: str) -> Unreachable:
    """The error for an answer that says nothing about the next one, with the wait that the server asks for."""
    seconds = retry_after(headers.get("retry-after", ""), time.time()) or 0.0
    waiting = f" and asks to wait {seconds:.0f} s" if seconds > LONGEST_WAIT else ""
    error = Unreachable(f"{message}{waiting}", *(steps or ("Try again later.",)))
    error.seconds, error.is_momentary = seconds, is_passing(status)
    return error


def next_wait(failures: int, error: Unreachable) -> float | None:
    """Seconds until the next attempt after `failures` in a row; None if there is none."""
    tries = SLOW_TRIES if error.is_slow else TRIES
    if not error.is_momentary or failures >= tries or error.seconds > LONGEST_WAIT:
        return None
    return max(backoff(failures, FIRST_WAIT), error.seconds)


async def patiently(ask: Callable[[], Awaitable[Result]]) -> Result:
    """The answer to a question that may be asked twice. Raises what `ask` raises."""
    failures = 0
    while True:
        try:
            return await ask()
        except Unreachable as error:
            failures += 1
            if (seconds := next_wait(failures, error)) is None:
                raise
            announce(error.message, seconds, was_silent=error.is_slow)
            await anyio.sleep(seconds)


def patiently_blocking(ask: Callable[[], Result]) -> Result:
    """The same for code that blocks."""
    failures = 0
    while True:
        try:
            return ask()
        except Unreachable as error:
            failures += 1
            if (seconds := next_wait(failures, error)) is None:
                raise
            announce(error.message, seconds, was_silent=error.is_slow)
            time.sleep(seconds)
