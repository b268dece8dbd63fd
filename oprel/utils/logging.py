"""Sets up the process's log."""

import logging

from oprel.utils.text import harmless

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class OneLine(logging.Formatter):
    """One line for each message, so that no stranger's text looks like a message of ours. Tracebacks have several."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Escapes what ends a line or controls a terminal."""
        record.message = harmless(record.message).replace("\n", "\\n")
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Escapes what controls a terminal in the traceback, too."""
        return harmless(super().format(record))


def setup_logging(level: int | str = "info") -> None:
    """Send the log of this process to stderr, from `level` up: logging.DEBUG, or a name such as "debug" in any case.

    Replaces handlers that were set up before. Raises ValueError for an unknown level.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The daemon logs its own message when it cancels requests.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith("Cancel "))
