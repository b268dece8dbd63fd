"""Sets up the process's log."""

import logging
import re

from oprel.utils.text import harmless

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Indented(logging.Formatter):
    """A message begins a line, and its further lines are indented: no stranger's text looks like a message of ours."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Indents further lines, and escapes what controls a terminal."""
        record.message = re.sub(r"\n(?! )", "\n    ", harmless(record.message))
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Escapes what controls a terminal in the traceback, too."""
        return harmless(super().format(record))


def setup_logging(level: int | str = "info", handler: logging.Handler | None = None) -> None:
    """Send the log of this process to `handler`, or stderr, from `level` up: logging.DEBUG, or a name such as "debug".

    Replaces handlers that were set up before. Raises ValueError for an unknown level.
    """
    handler = handler or logging.StreamHandler()
    handler.setFormatter(Indented(FORMAT))
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The daemon logs its own message when it cancels requests.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith("Cancel "))
