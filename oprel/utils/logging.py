"""Where log lines are written."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logging(level: int | str = "info") -> None:
    """Send the log of this process to stderr, from `level` up: logging.DEBUG, or a name such as "debug" in any case.

    Replaces handlers that were set up before. Raises ValueError for an unknown level.
    """
    logging.basicConfig(level=level.upper() if isinstance(level, str) else level, format=FORMAT, force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The daemon reports its drain itself, in words for its users.
    logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Cancel ")
