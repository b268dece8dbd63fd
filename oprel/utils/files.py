"""File operations: atomic writes, private folders, locks, sockets, log tails."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

LARGEST_OWN = 64 * 2**20  # bytes of a file that oprel wrote itself
LARGEST_LOG = 10 * 1024**2  # bytes, from which a log is continued in a new file
OLD_LOGS = 2


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`: a temporary file beside it, fsync, rename. A crash leaves the old content or the new.

    Raises OSError.
    """
    with written_atomically(path) as file:
        file.write(data)


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """The same for content that is written in pieces: the file of the block. Raises OSError."""
    import tempfile

    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_own(path: Path) -> bytes:
    """The content of a file in one of our folders, which must be a regular one: a FIFO would never end, and a link may
    lead anywhere.

    Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_OWN:
            raise OSError(errno.EINVAL, "it is not a regular file, or too large")
        return file.read()


def open_own(path: Path) -> int:
    """Open a file in one of our folders to read and write it; make it if it is missing, or anything but a file.

    Returns a descriptor. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            path.rename(path.with_name(f"{path.name}.set-aside-{os.getpid()}"))
    return os.open(path, flags, 0o600)


def make_private(folder: Path) -> None:
    """Create `folder` for this user alone (mode 0700). Raises OSError, PermissionError if it is another user's."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    check_private(folder)
    folder.chmod(0o700)


def check_private(folder: Path) -> None:
    """Raises PermissionError if `folder` exists and is not a folder owned by this user."""
    try:
        status = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(errno.EPERM, f"{folder} is not a folder owned by this user")


def locked(descriptor: int) -> bool:
    """Try to take the kernel's lock on an open file; closing the descriptor releases it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def listens(path: Path) -> bool:
    """True if a process accepts connections at the Unix socket `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def port_owner(port: int, tables: Iterable[str] = ("/proc/net/tcp", "/proc/net/tcp6")) -> int | None:
    """The user ID of the program that listens on a TCP port; None if none does, or if the system does not say.

    `tables` are Linux's, proc(5): a line has the local address in hexadecimal, the state (0A: listening), the user ID.
    """
    for table in tables:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    return int(fields[7])
    return None


def tail(path: Path, lines: int, *, since: int = 0, limit_bytes: int = 64 * 1024) -> list[str]:
    """The last lines of a text file after its first `since` bytes, reading at most `limit_bytes`; [] without a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - limit_bytes))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def shift_logs(path: Path) -> None:
    """Rename a log to NAME.1, and the older ones to NAME.2 and so on; the oldest is lost. Raises OSError."""
    for number in range(OLD_LOGS - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            old_log(path, number).replace(old_log(path, number + 1))
    path.replace(old_log(path, 1))


def old_log(path: Path, number: int) -> Path:
    """The `number`-th last file of a log."""
    return path.with_name(f"{path.name}.{number}")


def is_same_file(path: Path, descriptor: int) -> bool:
    """True if the open file is the regular file at `path`."""
    try:
        return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
