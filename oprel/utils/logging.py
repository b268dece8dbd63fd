"""Where log lines go."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logging(level: str) -> None:
    """Send the process's log to stderr; `level` is debug, info, warning or error."""
    logging.basicConfig(level=level.upper(), format=FORMAT, force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # What the daemon's drain says itself, in words for its users.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith("Cancel "))
