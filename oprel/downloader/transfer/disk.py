"""The disk's side of a transfer: who may write a file, whether there is room for it, and how it gets its name."""

import errno
import os
from pathlib import Path

from oprel.core.exceptions import DiskFullError, DownloadError
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.segments import temporary_of
from oprel.utils.files import locked
from oprel.utils.text import human_size

FULL = (errno.ENOSPC, errno.EDQUOT)
PART = ".part"  # ends the name of a file that is not all here


def is_there(file: RemoteFile, destination: Path) -> bool:
    """True for a file that was fetched: it got its name only once it was verified."""
    return destination.is_file() and destination.stat().st_size == file.size_bytes


def open_alone(part: Path) -> int | None:
    """The file at `part`, made if need be, with the kernel's lock; None while another has that. Raises OSError."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # A file that was renamed or removed meanwhile is the lock of nothing.
        if locked(descriptor) and os.path.samestat(os.fstat(descriptor), part.stat()):
            return descriptor
    except FileNotFoundError:
        pass
    os.close(descriptor)
    return None


def part_of(destination: Path) -> Path:
    """Where a file is while it grows."""
    return destination.with_name(f"{destination.name}{PART}")


def state_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def discard(part: Path) -> None:
    """Leave nothing of a transfer."""
    forget(part)
    part.unlink(missing_ok=True)


def forget(part: Path) -> None:
    """Leave nothing of what is noted about a partial file."""
    for path in (state_of(part), temporary_of(state_of(part))):
        path.unlink(missing_ok=True)


def publish(part: Path, descriptor: int, destination: Path) -> None:
    """Give the finished file its name, down to the disk. Raises OSError."""
    os.fsync(descriptor)
    part.replace(destination)
    folder = os.open(destination.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    forget(part)


def check_room(name: str, needed_bytes: int, folder: Path) -> None:
    """Raises DiskFullError that says what is needed and what is free."""
    if needed_bytes > free_bytes(folder):
        raise _no_room(name, needed_bytes, folder)


def missing_bytes(file: RemoteFile, destination: Path) -> int:
    """The room that a file will still take."""
    if is_there(file, destination):
        return 0
    part = part_of(destination)
    return file.size_bytes - (part.stat().st_blocks * 512 if part.exists() else 0)


def free_bytes(folder: Path) -> int:
    """What this user may still write there. Raises OSError."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def storage_error(error: OSError, name: str, size_bytes: int, folder: Path) -> DownloadError:
    """A failure to write, in words."""
    if error.errno in FULL:
        return _no_room(name, size_bytes, folder)
    return DownloadError(f"{name} cannot be written: {error.strerror or error}", f"May oprel write to {folder}?")


def _no_room(name: str, needed_bytes: int, folder: Path) -> DiskFullError:
    needed, free = human_size(needed_bytes), human_size(free_bytes(folder))
    return DiskFullError(
        f"no room for {name}: it needs {needed} in {folder}, where {free} are free",
        "Free some room and ask again: what is here already is kept. Or choose another folder: cache_dir.",
    )
