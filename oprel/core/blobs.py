"""Files given to the daemon, each under the SHA-256 of its content: OPREL_HOME/models/blobs/sha256-HEX.

Owner of that folder. A file is there whole or not at all.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from oprel.core.exceptions import OprelError, ValidationError

BLOB_NAME = r"sha256-[0-9a-f]{64}"
SPLIT_NAME = r"split-[0-9a-f]{64}"
GRACE_SECONDS = 3600.0  # between an upload and the request that makes a model of it
WRITE_BYTES = 4 * 1024**2  # hashed and written at a time, off the event loop
UPLOAD_PREFIX = ".upload-"

_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


class Blobs:
    """The files of one folder, by digest: "sha256:" or "sha256-" and 64 hex digits.

    Who asked for a file may make a model of it: for so long it is promised, and stays though no model uses it yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._promised: dict[str, float] = {}  # until when, by the file's name; in seconds since 1970

    def path(self, digest: str) -> Path:
        """Where the file of that content is, or would be. Raises ValidationError for what is no digest."""
        match = _DIGEST.fullmatch(digest)
        if match is None:
            raise ValidationError("invalid digest format", "A digest looks like sha256: and 64 hex digits.")
        return self._folder / f"sha256-{match[1].lower()}"

    def find(self, digest: str) -> Path | None:
        """The file, promised for another hour. Raises ValidationError."""
        path = self.path(digest)
        if not path.is_file():
            return None
        self._promised[path.name] = time.time() + GRACE_SECONDS
        return path

    def release(self, paths: Collection[Path]) -> None:
        """End the promise: a model uses them by now."""
        for path in paths:
            self._promised.pop(path.name, None)

    async def add(self, digest: str, content: AsyncIterable[bytes]) -> bool:
        """Store `content`; False when it is there already. Equal files may be added at the same time.

        Raises ValidationError when its digest is another one, OprelError when it cannot be written. Whatever ends it
        early, nothing is left.
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
        return True

    def adopt(self, file: Path) -> Path:
        """Move a finished `file` of `temporary()` to its name, and return that. Blocks for as long as it is read."""
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return file.replace(self.path(f"sha256:{digest}"))

    def join(self, parts: Sequence[Path]) -> Path:
        """The first of a split model's `parts` in order, where an engine finds the others by its name."""
        names = [f"model-{number:05}-of-{len(parts):05}.gguf" for number in range(1, len(parts) + 1)]
        return self.folder(dict(zip(names, parts, strict=True))) / names[0]

    def folder(self, files: Mapping[str, Path]) -> Path:
        """A folder of links to blobs, by what they are called there."""
        content = "".join(f"{name}\0{blob.name}\0" for name, blob in files.items())
        folder = self._folder / f"split-{hashlib.sha256(content.encode()).hexdigest()}"
        folder.mkdir(exist_ok=True)
        self._promised[folder.name] = time.time() + GRACE_SECONDS
        for name, blob in files.items():
            with contextlib.suppress(FileExistsError):
                (folder / name).symlink_to(Path("..") / blob.name)
        return folder

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """An empty file of this folder, gone at the end if it is still there. Raises OprelError."""
        path = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=UPLOAD_PREFIX)
            os.close(descriptor)
            path = Path(name)
            yield path
        except OSError as error:
            raise OprelError(
                f"the file cannot be stored: {error.strerror}",
                f"Is there room in {self._folder}, and may oprel write there?",
            ) from error
        finally:
            if path:
                path.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Every blob, and what there is of those that are being fetched. Blocks for a look at the folder."""
        return [path for path in self._folder.glob("sha256-*") if path.is_file()]

    def holds(self, path: Path) -> bool:
        return path.parent == self._folder or path.parent.parent == self._folder

    def discard(self, used: Collection[str], may_go: Callable[[str], bool]) -> int:
        """Remove blobs that are not `used` and whose name `may_go`, young ones too; how many bytes that freed.

        Promised ones stay. A file that has another name elsewhere frees nothing.
        """
        freed, kept = 0, self._kept(used, time.time())
        for path in (*self.files(), *self._folder.glob("split-*")):
            with contextlib.suppress(FileNotFoundError):  # another request like this
                if path.name not in kept and may_go(path.name):
                    freed += _remove(path)
        return freed

    def prune(self, used: Collection[str], now: float) -> list[str]:
        """Remove the blobs whose names are not in `used`, and return those; young and promised ones stay.

        `now` is in seconds since 1970. Touches nothing but blobs and what is left of broken uploads.
        """
        kept = self._kept(used, now)
        removed = []
        for path in self._folder.glob("*"):
            is_ours = re.fullmatch(f"{BLOB_NAME}|{SPLIT_NAME}", path.name) or path.name.startswith(UPLOAD_PREFIX)
            with contextlib.suppress(FileNotFoundError):  # an upload that ends meanwhile, or another request like this
                if is_ours and path.name not in kept and now - path.lstat().st_mtime > GRACE_SECONDS:
                    _remove(path)
                    removed.append(path.name)
        return removed

    def _kept(self, used: Collection[str], now: float) -> set[str]:
        return {name for name, until in self._promised.items() if until > now}.union(used)


def _remove(path: Path) -> int:
    """A blob, or a folder of links to some; how many bytes the disk has more. Raises FileNotFoundError."""
    if path.is_dir():
        shutil.rmtree(path)
        return 0
    status = path.lstat()
    path.unlink()
    return status.st_size if status.st_nlink == 1 else 0


async def _write(content: AsyncIterable[bytes], path: Path) -> str:
    """Write `content` to `path` down to the disk; returns its SHA-256 in hex."""
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
    """A blob's digest as Ollama's API has it.

    >>> with_colon("sha256-00ff")
    'sha256:00ff'
    """
    return name.replace("-", ":", 1)
