"""The disk side of a transfer: locking the partial file, checking free space, publishing the finished file."""

import errno
import os
import stat
from pathlib import Path

from oprel.core.exceptions import NO_SPACE, DiskFullError, DownloadError
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.segments import temporary_of
from oprel.utils.files import locked, open_own
from oprel.utils.process import systems
from oprel.utils.text import human_size

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)  # how file systems say so
PART = ".part"  # suffix of partial files


def is_there(file: RemoteFile, destination: Path) -> bool:
    """True if the file was downloaded: it gets its name only after verification."""
    return destination.is_file() and destination.stat().st_size == file.size_bytes


def open_alone(part: Path) -> int | None:
    """Open or create `part` and lock it; None while another process holds the lock.

    Something else of that name, such as a link that leads elsewhere, is removed first. Raises OSError.
    """
    if _is_foreign(part):
        part.unlink()
    descriptor = open_own(part, os.O_RDWR | os.O_CREAT)
    try:
        # If the file was renamed or removed meanwhile, its lock protects nothing.
        if _is_ours(descriptor) and os.path.samestat(os.fstat(descriptor), part.stat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_foreign(part: Path) -> bool:
    try:
        return not stat.S_ISREG(part.lstat().st_mode)
    except FileNotFoundError:
        return False


def _is_ours(descriptor: int) -> bool:
    """Lock an open file. On a file system without locks it counts as ours: what two write at once is verified."""
    try:
        return locked(descriptor)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return True


def part_of(destination: Path) -> Path:
    """The path of the partial file."""
    return destination.with_name(f"{destination.name}{PART}")


def state_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def discard(part: Path) -> None:
    """Delete the partial file and its state."""
    forget(part)
    part.unlink(missing_ok=True)


def forget(part: Path) -> None:
    """Delete the state of a partial file."""
    for path in (state_of(part), temporary_of(state_of(part))):
        path.unlink(missing_ok=True)


def publish(part: Path, descriptor: int, destination: Path) -> None:
    """Sync the finished file to disk and give it its final name. Raises OSError."""
    os.fsync(descriptor)
    part.replace(destination)
    systems.sync_folder(destination.parent)
    forget(part)


def check_space(name: str, needed_bytes: int, folder: Path) -> None:
    """Raises DiskFullError, which states the needed and the free space."""
    if needed_bytes > systems.free_bytes(folder):
        raise _disk_full(name, needed_bytes, folder)


def missing_bytes(file: RemoteFile, destination: Path) -> int:
    """The disk space that a file still needs."""
    if is_there(file, destination):
        return 0
    part = part_of(destination)
    return file.size_bytes - (systems.allocated_bytes(part.stat()) if part.exists() else 0)


def storage_error(error: OSError, name: str, size_bytes: int, folder: Path) -> DownloadError:
    """Turn a failed write into a DownloadError."""
    if error.errno in NO_SPACE:
        return _disk_full(name, size_bytes, folder)
    return DownloadError(f"{name} cannot be written: {error.strerror or error}", f"Make {folder} writable.")


def _disk_full(name: str, needed_bytes: int, folder: Path) -> DiskFullError:
    needed, free = human_size(needed_bytes), human_size(systems.free_bytes(folder))
    return DiskFullError(
        f"not enough space for {name}: it needs {needed} in {folder}, where {free} are free",
        "Free some space and try again: the partial download is kept. Or set cache_dir to another folder.",
    )
