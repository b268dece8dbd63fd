"""Says why a download waits before its next request: to the log, and to the user."""

import logging
from collections.abc import Callable
from contextvars import ContextVar

logger = logging.getLogger(__name__)

NOTICEABLE = 1.0  # s: the shortest wait that is shown to the user
_listener: ContextVar[Callable[[str], object] | None] = ContextVar("listener", default=None)


def tell_waits(listener: Callable[[str], object]) -> None:
    """Call `listener`, from any thread, with the reason of each noticeable wait in this context, its threads too."""
    _listener.set(listener)


def announce(why: str, seconds: float, *, was_silent: bool = False) -> None:
    """Show the user why the next attempt is `seconds` away. `was_silent`: the last one took long for nothing."""
    logger.info("%s; next attempt in %.1f s", why, seconds)
    if (listener := _listener.get()) and (was_silent or seconds >= NOTICEABLE):
        listener(f"{why}; next attempt in {max(seconds, 1.0):.0f} s")
