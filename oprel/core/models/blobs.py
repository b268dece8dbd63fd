"""Content-addressed storage of model files: OPREL_HOME/models/blobs/sha256-HEX.

This module owns that folder. A blob is either complete or absent.
"""

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from oprel.core.exceptions import ValidationError, not_stored
from oprel.utils.files import sweep, temporary_file

BLOB_NAME = r"sha256-[0-9a-f]{64}"
SPLIT_NAME = r"split-[0-9a-f]{64}"
GRACE_SECONDS = 3600.0  # from an upload to the request that creates a model from it
WRITE_BYTES = 4 * 1024**2  # per write in a worker thread

_NAME = re.compile(f"{BLOB_NAME}|{SPLIT_NAME}")
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


class Blobs:
    """The blobs of one folder, by digest: "sha256:" or "sha256-" and 64 hex digits.

    A client that looked up or uploaded a blob may create a model from it. Until then the blob is promised: it is kept
    although no model uses it yet.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._promised: dict[str, float] = {}  # file name -> expiry, by the clock

    def path(self, digest: str) -> Path:
        """The path of the blob, whether it exists or not. Raises ValidationError for an invalid digest."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise ValidationError("invalid digest format", "A digest is sha256: followed by 64 hex digits.")
        return self._folder / f"sha256-{match[1].lower()}"

    def find(self, digest: str) -> Path | None:
        """The blob, promised for another hour; None without one. Raises ValidationError."""
        path = self.path(digest)
        if path.is_symlink() or not path.is_file():  # a link could lead to a file of any content
            return None
        self._promise(path)
        return path

    def _promise(self, path: Path) -> None:
        self._promised[path.name] = self._clock() + GRACE_SECONDS

    def release(self, paths: Collection[Path]) -> None:
        """End the promise, since a model now uses them."""
        for path in paths:
            self._promised.pop(path.name, None)

    async def add(self, digest: str, content: AsyncIterable[bytes]) -> bool:
        """Store `content`; False if it exists already. Equal files may be added concurrently.

        Raises ValidationError if the digest does not match, OprelError if it cannot be written. A failed call leaves
        nothing behind.
        """
        target = self.path(digest)
        if self.find(digest):
            return False
        with self.temporary() as temporary:
            hexadecimal = await _write(content, temporary)
            if f"sha256-{hexadecimal}" != target.name:
                want, got = with_colon(target.name), f"sha256:{hexadecimal}"
                raise ValidationError(f'digest mismatch, expected "{want}", got "{got}"', "Upload the file again.")
            temporary.replace(target)
        self._promise(target)
        return True

    def adopt(self, file: Path) -> Path:
        """Move a finished `temporary()` file to its blob's path and return that. Blocks to hash the file."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
            os.fsync(content.fileno())  # whatever has a blob's name is whole, also after a loss of power
        return file.replace(self.path(f"sha256:{digest}"))

    def join(self, parts: Sequence[Path]) -> Path:
        """Link the ordered `parts` of a split model under standard names, and return the link to the first."""
        names = [f"model-{number:05}-of-{len(parts):05}.gguf" for number in range(1, len(parts) + 1)]
        return self.folder(dict(zip(names, parts, strict=True))) / names[0]

    def folder(self, files: Mapping[str, Path]) -> Path:
        """A folder of links to blobs. `files` maps the links' paths in it to blobs. Raises OprelError."""
        content = "".join(f"{name}\0{blob.name}\0" for name, blob in files.items())
        folder = self._folder / f"split-{hashlib.sha256(content.encode()).hexdigest()}"
        self._promise(folder)
        with self._writing():
            folder.mkdir(exist_ok=True)
            for name, blob in files.items():
                link = folder / name
                link.parent.mkdir(exist_ok=True)
                with contextlib.suppress(FileExistsError):
                    _link(link, Path(*[".."] * (len(Path(name).parts)), blob.name))
        return folder

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """An empty file in this folder, deleted at the end unless it was moved. Raises OprelError."""
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary_file(self._folder, "upload") as (_, path):
                yield path

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises OprelError for an OSError in the block."""
        try:
            yield
        except OSError as error:
            raise not_stored("the file cannot be stored", error, self._folder) from error

    def files(self) -> list[Path]:
        """All blobs, including partial downloads. Blocks to list the folder."""
        return [Path(entry) for entry in self._entries() if entry.name.startswith("sha256-") and entry.is_file()]

    def names(self) -> list[str]:
        """The names of all blobs and folders of links. Blocks to list the folder."""
        return [entry.name for entry in self._entries() if _NAME.fullmatch(entry.name)]

    def _entries(self) -> list["os.DirEntry[str]"]:
        try:
            with os.scandir(self._folder) as entries:
                return list(entries)
        except OSError:  # no file was stored yet
            return []

    def holds(self, path: Path) -> bool:
        return path.parent == self._folder or path.parent.parent == self._folder

    def discard(self, used: Collection[str], may_go: Callable[[str], bool]) -> int:
        """Remove unused blobs whose name passes `may_go`, whatever their age; returns the bytes freed.

        Promised blobs stay. A file with another hard link elsewhere frees nothing.
        """
        freed, kept = 0, self._kept(used)
        for entry in self._entries():
            is_one = entry.name.startswith("split-") or (entry.name.startswith("sha256-") and entry.is_file())
            with contextlib.suppress(FileNotFoundError):  # a concurrent request removed it
                if is_one and entry.name not in kept and may_go(entry.name):
                    freed += _remove(Path(entry))
        return freed

    def prune(self, used: Collection[str], now: float) -> list[str]:
        """Remove blobs that are not `used`, and return their names; recent and promised ones stay.

        `now` is in seconds since 1970. Touches only blobs and the remains of killed processes.
        """
        kept = self._kept(used)
        removed = [path.name for path in sweep(self._folder)]
        for entry in self._entries():
            is_ours = _NAME.fullmatch(entry.name)
            with contextlib.suppress(FileNotFoundError):  # a concurrent request removed it
                if is_ours and entry.name not in kept and now - Path(entry).lstat().st_mtime > GRACE_SECONDS:
                    _remove(Path(entry))
                    removed.append(entry.name)
        return removed

    def _kept(self, used: Collection[str]) -> set[str]:
        now = self._clock()
        return {name for name, until in self._promised.items() if until > now}.union(used)


def _link(link: Path, target: Path) -> None:
    """A symbolic link, or where there are none, another name of the file. Raises OSError."""
    try:
        link.symlink_to(target)
    except FileExistsError:
        raise
    except OSError:
        link.hardlink_to(link.parent / target)


def _remove(path: Path) -> int:
    """Remove a blob or a folder of links; returns the bytes freed. Raises FileNotFoundError."""
    if path.is_dir():
        shutil.rmtree(path)
        return 0
    status = path.lstat()
    path.unlink()
    return status.st_size if status.st_nlink == 1 else 0


async def _write(content: AsyncIterable[bytes], path: Path) -> str:
    """Write `content` to `path` and sync it to disk; returns its SHA-256 in hex."""
    digest = hashlib.sha256()
    with path.open("wb") as file:

        def write(data: bytearray, last: bool = False) -> None:
            digest.update(data)
            file.write(data)
            if last:
                file.flush()
                os.fsync(file.fileno())

        waiting = bytearray()
        async for piece in content:
            waiting += piece
            if len(waiting) >= WRITE_BYTES:
                await anyio.to_thread.run_sync(write, waiting)
                waiting = bytearray()
        await anyio.to_thread.run_sync(write, waiting, True)
    return digest.hexdigest()


def with_colon(name: str) -> str:
    """The digest of a blob as Ollama's API writes it.

    >>> with_colon("sha256-00ff")
    'sha256:00ff'
    """
    return name.replace("-", ":", 1)
