"""Sets up the process's log."""

import logging

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def setup_logging(level: str) -> None:
    """Send the process's log to stderr; `level` is debug, info, warning or error."""
    logging.basicConfig(level=level.upper(), format=FORMAT, force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # The daemon logs its own message when it cancels requests.
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith("Cancel "))
