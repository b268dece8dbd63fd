"""Asks a server again that is busy, or whose connection broke: questions have the patience that transfers have."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
import httpx

from oprel.downloader.backoff import Unreachable, backoff, is_passing, retry_after
from oprel.downloader.network.failures import BusyProxy, is_passing_failure
from oprel.downloader.network.waits import announce

TRIES = 4
SLOW_TRIES = 2  # where each takes long
FIRST_WAIT = 0.5  # s
LONGEST_WAIT = 20.0  # s that a server may ask for; beyond it the user is told, and a kept download waits on its own
BROKEN = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError, BusyProxy)  # of a server that was reached
Result = TypeVar("Result")


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
