"""Linux and macOS."""

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

assert sys.platform != "win32"

KILL = signal.SIGKILL
CONTINUE: signal.Signals | None = signal.SIGCONT
HANGUP: signal.Signals | None = signal.SIGHUP  # the terminal was closed
# How files of our own are opened: no link is followed, no FIFO waited for, and no program that we start gets them.
OWN_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FICLONE = 0x40049409  # linux/fs.h
HAS_UNIX_SOCKETS = True
MOST_PIECES = min(512, os.sysconf("SC_IOV_MAX"))  # that one call writes


def user_id() -> int:
    """The owner of files that this process makes, as `os.stat` says it."""
    return os.getuid()


def is_root() -> bool:
    return os.getuid() == 0


def user_name(number: int) -> str:
    """The name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def give_to_group(path: Path, group: str) -> None:
    """Give a file to a group, by its name or number. Raises KeyError for an unknown one, OSError if not allowed."""
    import grp

    os.chown(path, -1, int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid)


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Take the kernel's lock on an open file, or raise BlockingIOError; closing the descriptor releases it.

    Raises OSError on file systems without locks.
    """
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def unix_socket() -> socket.socket:
    """A new socket for connections within this machine."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)


def read_at(descriptor: int, size: int, position: int) -> bytes:
    return os.pread(descriptor, size, position)


def read_into(descriptor: int, buffer: memoryview, position: int) -> int:
    return os.preadv(descriptor, [buffer], position)


def write_at(descriptor: int, pieces: Sequence[bytes], position: int) -> int:
    """Write up to `MOST_PIECES` at a place; the count of bytes, which may be fewer than given."""
    return os.pwritev(descriptor, pieces, position)


def allocated_bytes(status: os.stat_result) -> int:
    """What a file takes on its disk: less than its size where it has holes."""
    return status.st_blocks * 512


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write there. Raises OSError."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on its disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_average() -> float:
    """How many processes ran or wanted to, on average over the last minute."""
    return os.getloadavg()[0]


def group_of(pid: int) -> int:
    """The process group of a process. Raises OSError."""
    return os.getpgid(pid)


def kill_group(leader: int) -> None:
    """Kill all of a process group. Raises OSError."""
    os.killpg(leader, KILL)


def clone(source: int, copy: int) -> None:
    """Let a file share the bytes of another until one of them changes. Raises OSError where that cannot be."""
    fcntl.ioctl(copy, FICLONE, source)


def on_fork(in_child: Callable[[], None]) -> None:
    """Call a function in each child that is forked from now on."""
    os.register_at_fork(after_in_child=in_child)
