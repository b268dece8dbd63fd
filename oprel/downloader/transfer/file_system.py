"""What the file system of a folder can do, tried out before the first byte is fetched into it."""

import errno
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import DownloadError
from oprel.utils.process import systems
from oprel.utils.text import human_size

PREFIX = ".oprel-trial-"
HOLE_BYTES = 2**20
LARGE_BYTES = 2**32 - 1  # the largest file of FAT
TOO_LARGE = (errno.EFBIG, errno.EOVERFLOW)


@dataclass(frozen=True, kw_only=True)
class FileSystem:
    """`sparse`: a file may have holes, which take no space. `tells_case`: names that differ in case are two files.

    `renames_over`: a file can replace another at once.
    """

    symlinks: bool
    locks: bool
    sparse: bool
    tells_case: bool
    renames_over: bool

    @property
    def lacks(self) -> list[str]:
        """What it cannot do that downloads do without, in words."""
        abilities = {"symbolic links": self.symlinks, "locks": self.locks, "sparse files": self.sparse}
        return [name for name, is_there in abilities.items() if not is_there]


def tried(folder: Path) -> FileSystem:
    """What can be done in `folder`, by doing it. Raises OSError if nothing can be written there."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=PREFIX) as name:
        file, other = Path(name, "a"), Path(name, "b")
        file.write_bytes(b"a")
        other.write_bytes(b"b")
        return FileSystem(
            symlinks=_links(file),
            locks=_locks(file),
            sparse=_has_holes(Path(name, "hole")),
            tells_case=not Path(name, "A").exists(),
            renames_over=_replaces(other, file),
        )


def check(system: FileSystem, folder: Path, files: Iterable[tuple[Path, int]]) -> None:
    """Raises DownloadError if `files`, by their paths and sizes in bytes, cannot be kept in `folder`. Blocks."""
    advice = "Set cache_dir to a folder on another file system."
    if not system.renames_over:
        raise DownloadError(f"the file system of {folder} cannot replace a file by another", advice, fault="disk")
    names: dict[str, Path] = {}
    for path, size in files:
        before = names.setdefault(str(path) if system.tells_case else str(path).casefold(), path)
        if before != path:
            raise DownloadError(f"{before.name} and {path.name} are the same name in {folder}", advice, fault="disk")
        if (system.sparse or size > LARGE_BYTES) and not _may_have(folder, size):
            raise DownloadError(
                f"a file of {human_size(size)} is too large for the file system of {folder}", advice, fault="disk"
            )


def _links(file: Path) -> bool:
    link = file.with_name("link")
    try:
        link.symlink_to(file.name)
        return link.read_bytes() == file.read_bytes()
    except OSError:
        return False


def _locks(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            systems.lock(opened.fileno())
    except OSError:
        return False
    return True


def _has_holes(file: Path) -> bool:
    with file.open("wb") as opened:
        opened.truncate(HOLE_BYTES)
        os.fsync(opened.fileno())
    return systems.allocated_bytes(file.stat()) < HOLE_BYTES


def _replaces(file: Path, other: Path) -> bool:
    try:
        file.replace(other)
    except OSError:
        return False
    return True


def _may_have(folder: Path, size: int) -> bool:
    """Whether a file in `folder` may be so large. Raises OSError for other reasons than its size."""
    with tempfile.TemporaryFile(dir=folder, prefix=PREFIX) as file:
        try:
            file.truncate(size)
        except OSError as error:
            if error.errno not in TOO_LARGE:
                raise
            return False
    return True
