"""Files written so that a crash leaves the old content or the new, never half of it."""

import errno
import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by a file with `data`: temporary file beside it, fsync, rename. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def make_private(folder: Path) -> None:
    """Make `folder` this user's alone (0700). Raises OSError, PermissionError too when it is another user's."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_private(folder)
    folder.chmod(0o700)


def check_private(folder: Path) -> None:
    """Raises PermissionError when another user could have put something into `folder`, unless it is not there."""
    try:
        status = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, f"{folder} is not a folder of this user")


def locked(descriptor: int) -> bool:
    """Take the kernel's lock on an open file, if nobody has it; it goes with the descriptor."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listens(path: Path) -> bool:
    """True when a process accepts connections at the Unix socket `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def tail(path: Path, lines: int, *, since: int = 0, limit_bytes: int = 64 * 1024) -> list[str]:
    """The last lines of a text file after its first `since` bytes, reading at most `limit_bytes`; [] without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - limit_bytes))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
