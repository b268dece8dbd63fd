"""The files behind the models: which there are, whether they are whole, which of them nothing uses."""

import hashlib
import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import InvalidModelError, OprelError
from oprel.core.manifests import Manifest, Provider
from oprel.downloader.cache import HubCache
from oprel.downloader.transfer import disk, segments
from oprel.formats.gguf import looks_like_gguf, read_gguf
from oprel.server.downloads.task import Download
from oprel.server.models.last_use import LastUse
from oprel.server.models.library import Library

READ_BYTES = 8 * 2**20
STEP_BYTES = 64 * READ_BYTES  # between two lines of progress

# Hugging Face's cache calls a large file by its content too.
_DIGEST = re.compile(r"(?:sha256-)?([0-9a-f]{64})")


@dataclass(frozen=True)
class StoredFile:
    """A file, wherever links lead to it. `digest` is "sha256:" and 64 hex digits, where its name tells.

    `names` are the models that use it, `used` the last time one of them was, in seconds since 1970. Of a partial file
    `size_bytes` are here, of `total_bytes` where that was noted.
    """

    path: Path
    size_bytes: int
    identity: tuple[int, int]
    digest: str = ""
    provider: Provider = "oprel"
    names: tuple[str, ...] = ()
    used: float | None = None
    total_bytes: int | None = None

    @property
    def is_partial(self) -> bool:
        return self.path.name.endswith(disk.PART)

    @property
    def title(self) -> str:
        """What people know it by."""
        return ", ".join(self.names) or f"{self.path.name[:20]} (unused)"


@dataclass
class _Use:
    provider: Provider
    names: list[str] = field(default_factory=list)
    used: float | None = None


def cached_files(
    library: Library, last_use: LastUse, hub_dir: Path, arriving: Mapping[Path, Download]
) -> list[StoredFile]:
    """The largest first: those of all models, and oprel's own that no model uses. Blocks for a look at each.

    `arriving` tells which downloads want which files.
    """
    uses: dict[Path, _Use] = {}
    for manifest in library.known():
        for path in _files_of(manifest):
            use = uses.setdefault(Path(os.path.realpath(path)), _Use(manifest.provider))
            use.names.append(manifest.name)
            moments = [moment for moment in (use.used, last_use.of(manifest.weights)) if moment]
            use.used = max(moments, default=None)
    for path in (*library.blobs.files(), *HubCache(hub_dir).files()):
        uses.setdefault(Path(os.path.realpath(path)), _wanted(path, arriving))
    found = [file for path, use in uses.items() if (file := _file(path, use))]
    return sorted(found, key=lambda file: file.size_bytes, reverse=True)


def _files_of(manifest: Manifest) -> Iterator[Path]:
    """Of a folder that is used where it lies, those in it."""
    for path in manifest.files:
        yield from (one for one in path.iterdir() if one.is_file()) if path.is_dir() else (path,)


def duplicates(files: Sequence[StoredFile]) -> list[list[StoredFile]]:
    """Files of the same content that take room more than once."""
    groups: dict[str, dict[tuple[int, int], StoredFile]] = {}
    for file in files:
        if file.digest:
            groups.setdefault(file.digest, {}).setdefault(file.identity, file)
    return [[*group.values()] for group in groups.values() if len(group) > 1]


async def verified(files: Sequence[StoredFile]) -> AsyncGenerator[ProgressResponse, None]:
    """Read each file and tell of each step; "success" is the last. Raises InvalidModelError that names the damaged.

    A step without a digest is of a file that nobody told one of: only its header was read.
    """
    damaged = []
    for file in files:
        status = f"verifying {file.title}"
        try:
            if not file.digest:
                told = await anyio.to_thread.run_sync(_looked_at, file.path)
                yield ProgressResponse(status=f"{file.title}: {told}")
                continue
            digest, done = hashlib.sha256(), 0
            while step := await anyio.to_thread.run_sync(_hashed, file.path, digest, done):
                done += step
                yield ProgressResponse(status=status, digest=file.digest, total=file.size_bytes, completed=done)
            if f"sha256:{digest.hexdigest()}" != file.digest:
                damaged.append(file)
        except (OSError, OprelError):
            damaged.append(file)
    if damaged:
        told = ", ".join(f"{file.title}, in {file.path}" for file in damaged)
        raise InvalidModelError(
            f"damaged: {told}",
            "Remove those models with `oprel rm` and what is unused with `oprel cache prune`, and fetch them again.",
        )
    yield ProgressResponse(status="success")


def _looked_at(path: Path) -> str:
    """What can be said of a file whose digest nobody told. Raises InvalidModelError for a damaged GGUF."""
    if path.suffix != ".gguf" and not looks_like_gguf(path):
        return "nobody told its digest"
    read_gguf(path)
    return "its header is good, nobody told its digest"


def _wanted(path: Path, arriving: Mapping[Path, Download]) -> _Use:
    """For which model a file is that none uses yet."""
    download = arriving.get(path.with_name(path.name.removesuffix(disk.PART)))
    return _Use("oprel", [download.ref.text] if download else [])


def _hashed(path: Path, digest: "hashlib._Hash", offset: int) -> int:
    """Feed the next bytes to `digest`; how many those were. Blocks. Raises OSError."""
    count = 0
    with path.open("rb") as file:
        file.seek(offset)
        while count < STEP_BYTES and (piece := file.read(READ_BYTES)):
            digest.update(piece)
            count += len(piece)
    return count


def _file(path: Path, use: _Use) -> StoredFile | None:
    try:
        status = path.stat()
    except OSError:  # gone meanwhile, or a model whose file is
        return None
    if path.name.endswith(".part.json"):  # which says how far a transfer is
        return None
    match = _DIGEST.fullmatch(path.name)
    noted = segments.saved_segments(disk.state_of(path)) if path.name.endswith(disk.PART) else None
    return StoredFile(
        path=path,
        size_bytes=noted.done_bytes if noted else status.st_size,
        identity=(status.st_dev, status.st_ino),
        digest=f"sha256:{match[1]}" if match else "",
        provider=use.provider,
        names=tuple(dict.fromkeys(use.names)),
        used=use.used,
        total_bytes=noted.size_bytes if noted else None,
    )
