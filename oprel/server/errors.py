"""Faults of oprel itself, as errors that a client can be sent."""

import logging
import sqlite3
from pathlib import Path

from oprel.core.configuration import installation
from oprel.core.exceptions import NO_SPACE, ConfigError, DiskFullError, OprelError, not_stored
from oprel.core.home import owner_advice

logger = logging.getLogger(__name__)

NO_SPACE_OF_SQLITE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)


def unexpected(error: Exception) -> OprelError:
    """The error to send for a fault of oprel, or for a disk without space. The log has the traceback of a fault."""
    if without_space := _without_space(error):
        logger.error("%s", without_space.message)
        return without_space
    logger.error("unexpected error", exc_info=error)
    if installation.is_due_to_replacement(error):
        return installation.reinstalled(str(error))
    if isinstance(error, PermissionError) and error.filename and (advice := owner_advice(Path(str(error.filename)))):
        return ConfigError(f"cannot use {error.filename}: {error.strerror}", advice)
    return OprelError(f"internal error: {type(error).__name__}", "This is a fault of oprel: see the daemon's log.")


def _without_space(error: Exception) -> OprelError | None:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return not_stored("the disk is full", error, str(error.filename or "the home folder"))
    if getattr(error, "sqlite_errorcode", None) in NO_SPACE_OF_SQLITE:
        return DiskFullError(f"state.db cannot be written: {error}", "Free some space for it and try again.")
    return None
