"""Faults of oprel itself, as errors that a client can be sent."""

import logging

from oprel.core.exceptions import OprelError

logger = logging.getLogger(__name__)


def unexpected(error: Exception) -> OprelError:
    """The error to send for a fault of oprel. The log has the traceback."""
    logger.error("unexpected error", exc_info=error)
    return OprelError(f"internal error: {type(error).__name__}", "This is a fault of oprel: see the daemon's log.")
