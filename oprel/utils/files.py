"""File operations: atomic writes, private folders, locks, sockets, log tails."""

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from oprel.utils.process import systems

TEMPORARY = ".oprel-new"  # suffix of files that get their name when they are whole
ABANDONED_SECONDS = 3600.0  # without a change, where the file system has no locks
LARGEST_OWN = 64 * 2**20  # bytes of a file that oprel wrote itself
LARGEST_LOG = 10 * 1024**2  # bytes, from which a log is continued in a new file
OLD_LOGS = 2
SET_ASIDE = ".set-aside-"

# Names of temporary files, also those that earlier versions gave them.
_TEMPORARY = re.compile(r"\..+\.oprel-new|\.upload-[a-z0-9_]{8}|\..+\.(json|jsonl|gguf)\.[a-z0-9_]{8}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`: a temporary file beside it, fsync, rename. A crash leaves the old content or the new.

    Raises OSError.
    """
    with written_atomically(path) as file:
        file.write(data)


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """The same for content that is written in pieces: the file of the block. Raises OSError."""
    with temporary_file(path.parent, path.name) as (file, temporary):
        yield file
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_file(folder: Path, name: str) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file in `folder` that will be called `name`, deleted at the end unless it was moved.

    It is held meanwhile, so that `sweep` in another process leaves it. Raises OSError.
    """
    descriptor, path = _new_temporary(folder, name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def _new_temporary(folder: Path, name: str) -> tuple[int, Path]:
    import tempfile

    while True:
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=TEMPORARY)
        if held(descriptor) and is_same_file(Path(path), descriptor):  # else it was swept at once
            return descriptor, Path(path)
        os.close(descriptor)


def held(descriptor: int) -> bool:
    """Mark an open file as in use until it is closed; False if `sweep` is about to delete it.

    True also on a file system without locks, where its age has to tell.
    """
    try:
        systems.lock(descriptor, shared=True)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def sweep(folder: Path) -> list[Path]:
    """Delete the temporary files of processes that have ended, and return their paths. Blocks to list the folder."""
    try:
        with os.scandir(folder) as entries:
            paths = [Path(entry) for entry in entries if _TEMPORARY.fullmatch(entry.name)]
    except OSError:  # nothing was stored yet
        return []
    return [path for path in paths if _swept(path)]


def _swept(path: Path) -> bool:
    try:
        descriptor = open_own(path)
    except OSError:  # a file of another kind, of another user, or just renamed
        return False
    try:
        if not _is_abandoned(descriptor):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_abandoned(descriptor: int) -> bool:
    try:
        return locked(descriptor)
    except OSError:  # no locks here
        return time.time() - os.fstat(descriptor).st_mtime > ABANDONED_SECONDS


def read_own(path: Path) -> bytes:
    """The content of a file in one of our folders, see `open_own`. Raises OSError, also if it is too large."""
    with open(open_own(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > LARGEST_OWN:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return file.read()


def open_own(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file in one of our folders, which must be a regular one, and return its descriptor.

    A FIFO might never open, and a link may lead anywhere. A file that is created is for this user alone.
    Raises OSError.
    """
    descriptor = os.open(path, flags | systems.OWN_FILE, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file")


def set_aside(path: Path, suffixes: Iterable[str] = ("",)) -> Path:
    """Rename whatever is at `path`, and what has one of the suffixes, and return the new path. Raises OSError."""
    aside = path.with_name(f"{path.name}{SET_ASIDE}{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    for suffix in suffixes:
        if os.path.lexists(f"{path}{suffix}"):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    return aside


def open_lock(path: Path) -> int:
    """Open a file of ours to lock it; make it if it is missing, or anything but a file. Returns a descriptor.

    Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            set_aside(path)
    return open_own(path, os.O_RDWR | os.O_CREAT)


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
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != systems.user_id():
        raise PermissionError(errno.EPERM, f"{folder} is not a folder owned by this user")


def locked(descriptor: int) -> bool:
    """Try to take the kernel's lock on an open file; closing the descriptor releases it."""
    try:
        systems.lock(descriptor)
    except BlockingIOError:
        return False
    return True


def listens(path: Path) -> bool:
    """True if a process accepts connections at the Unix socket `path`."""
    try:
        with systems.unix_socket() as probe:
            return probe.connect_ex(str(path)) == 0
    except OSError:  # there are none on this system
        return False


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
        with open(open_own(path), "rb") as file:
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


def can_list(folder: Path) -> bool:
    """Whether the entries of a folder can be listed."""
    try:
        os.listdir(folder)
    except OSError:
        return False
    return True
