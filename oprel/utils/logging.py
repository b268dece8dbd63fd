"""Sets up the process's log."""

import logging
import re
from textwrap import indent
from typing import TYPE_CHECKING

from oprel.utils.text import harmless

if TYPE_CHECKING:
    from logging import _SysExcInfoType as ExceptionInfo

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Indented(logging.Formatter):
    """An entry begins a line, and its further lines are indented: no stranger's text looks like an entry of ours."""

    def format(self, record: logging.LogRecord) -> str:
        """Escapes what controls a terminal, in the traceback too."""
        return re.sub(r"\n(?! )", "\n    ", harmless(super().format(record)))

    def formatException(self, ei: "ExceptionInfo") -> str:
        """Keeps the layout of a traceback, whose lines are all indented."""
        return indent(super().formatException(ei), "    ")


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
