"""Faults of oprel itself, as errors that a client can be sent."""

import logging
from pathlib import Path

from oprel.core.configuration import installation
from oprel.core.exceptions import ConfigError, OprelError, ReinstalledError
from oprel.core.home import owner_advice

logger = logging.getLogger(__name__)


def unexpected(error: Exception) -> OprelError:
    """The error to send for a fault of oprel. The log has the traceback."""
    logger.error("unexpected error", exc_info=error)
    if installation.is_due_to_replacement(error):
        return ReinstalledError(
            f"oprel, or a package that it needs, was reinstalled or moved while this daemon ran ({error})",
            "Restart the daemon: `oprel restart`",
        )
    if isinstance(error, PermissionError) and error.filename and (advice := owner_advice(Path(str(error.filename)))):
        return ConfigError(f"cannot use {error.filename}: {error.strerror}", advice)
    return OprelError(f"internal error: {type(error).__name__}", "This is a fault of oprel: see the daemon's log.")
