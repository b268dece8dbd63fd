"""Whether the files that this process was started from are still there: pip replaces them under a running daemon.

What was not imported until then is missing, or belongs to another version.
"""

import os

import oprel
from oprel.core.exceptions import ReinstalledError

_Version = tuple[int, int, int] | None


def _present() -> _Version:
    """Tells one installation from the next; None while there is none."""
    try:
        status = os.stat(str(oprel.__file__))
    except OSError:
        return None
    # Not its ctime: uv links the file into other environments.
    return status.st_ino, status.st_size, status.st_mtime_ns


_AT_START = _present()


def was_replaced() -> bool:
    return _present() != _AT_START


def advice() -> list[str]:
    """What to do about it, first of all; nothing where it was not replaced."""
    return ["oprel was reinstalled or moved while this daemon ran: `oprel restart`"] if was_replaced() else []


def reinstalled(what: str) -> ReinstalledError:
    """The error for something that is missing because of it."""
    return ReinstalledError(
        f"oprel, or a package that it needs, was reinstalled or moved while this daemon ran ({what})",
        "Restart the daemon: `oprel restart`",
    )


def is_due_to_replacement(error: BaseException) -> bool:
    """Whether an unexpected error comes of that: of oprel's own files, or of a package that it imports late."""
    return was_replaced() or isinstance(error, ImportError)
