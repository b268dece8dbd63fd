"""Windows. Its modules are imported late, so that tests on other systems can import this one."""

import errno
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

assert sys.platform == "win32"

KILL = signal.SIGTERM  # `os.kill` ends a process at once, whatever the signal
CONTINUE: signal.Signals | None = None  # processes are not put aside by signals
HANGUP: signal.Signals | None = None
OWN_FILE = getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)
HAS_UNIX_SOCKETS = False  # that Python can use
MOST_PIECES = 512
# The byte that stands for a whole file in locks: others could not read what is locked, and no file of ours is so long.
LOCKED_BYTE = 2**31 - 2

_place = threading.Lock()  # there is no reading or writing at a place without moving the file's own position


def user_id() -> int:
    """0, as `os.stat` says for all files: who may use them is in their access control lists."""
    return 0


def is_root() -> bool:
    return False


def user_name(number: int) -> str:
    import getpass

    return getpass.getuser()


def give_to_group(path: Path, group: str) -> None:
    """Raises OSError: there are no such groups."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file, or raise BlockingIOError. Its locks are all exclusive: a shared one has one owner."""
    import msvcrt

    with _place:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, "another process has the lock") from error
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)


def unix_socket() -> socket.socket:
    """Python has none on Windows: there are pipes instead. Raises OSError."""
    raise OSError(errno.EAFNOSUPPORT, "this system has no Unix sockets")


def read_at(descriptor: int, size: int, position: int) -> bytes:
    with _place:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, position, os.SEEK_SET)
        content = os.read(descriptor, size)
        os.lseek(descriptor, before, os.SEEK_SET)
        return content


def read_into(descriptor: int, buffer: memoryview, position: int) -> int:
    content = read_at(descriptor, len(buffer), position)
    buffer[: len(content)] = content
    return len(content)


def write_at(descriptor: int, pieces: Sequence[bytes], position: int) -> int:
    with _place:
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, position, os.SEEK_SET)
        written = os.write(descriptor, b"".join(pieces))
        os.lseek(descriptor, before, os.SEEK_SET)
        return written


def allocated_bytes(status: os.stat_result) -> int:
    """The size: how much a file with holes takes is not in its status."""
    is_sparse = getattr(status, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_SPARSE_FILE
    return 0 if is_sparse else status.st_size


def free_bytes(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).free


def sync_folder(folder: Path) -> None:
    """Nothing: NTFS has a journal for names."""


def load_average() -> float:
    import psutil

    return psutil.getloadavg()[0]


def group_of(pid: int) -> int:
    """The process itself: job objects hold the others."""
    return pid


def kill_group(leader: int) -> None:
    os.kill(leader, KILL)


def clone(source: int, copy: int) -> None:
    """Only ReFS could, by a call of its own. Raises OSError."""
    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))


def on_fork(in_child: Callable[[], None]) -> None:
    """Nothing: no process is forked."""
