"""Sets up the process's log."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logging(level: int | str = "info", handler: logging.Handler | None = None) -> None:
    """Send the log of this process to `handler`, or stderr, from `level` up: logging.DEBUG, or a name such as "debug".

    Replaces handlers that were set up before. Raises ValueError for an unknown level.
    """
    logging.basicConfig(
        level=level.upper() if isinstance(level, str) else level,
        format=FORMAT,
        force=True,
        handlers=[handler or logging.StreamHandler()],
    )
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The daemon logs its own message when it cancels requests.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith("Cancel "))
