"""The files of the models: lists them, verifies them, and finds unused and duplicate ones."""

import hashlib
import os
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import InvalidModelError, OprelError
from oprel.core.models.disks import UNSEEN
from oprel.core.models.manifests import Manifest, Provider
from oprel.downloader.cache import content_of
from oprel.downloader.transfer import disk, segments
from oprel.formats.gguf import looks_like_gguf, read_gguf
from oprel.server.downloads.task import Download
from oprel.server.models.fetched import FetchedFiles
from oprel.server.models.last_use import LastUse
from oprel.server.models.library import Library
from oprel.wire.library import NOT_CHECKED

READ_BYTES = 8 * 2**20
STEP_BYTES = 64 * READ_BYTES  # per line of progress

# Hugging Face's cache also names large files by their digest.
_DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file, with links resolved. `digest` is "sha256:" and 64 hex digits if its name contains it, else "".

    `names` are the models that use it; `used` is their last use, in seconds since 1970. For a partial file,
    `size_bytes` is the part present, and `total_bytes` the full size if known.
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
        """The name to display."""
        return ", ".join(self.names) or f"{self.path.name[:20]} (unused)"


@dataclass
class _Use:
    provider: Provider
    names: list[str] = field(default_factory=list)
    used: float | None = None


def cached_files(library: Library, last_use: LastUse, arriving: Mapping[Path, Download]) -> list[StoredFile]:
    """All files of models, and oprel's own unused files; largest first. Blocks to stat each.

    `arriving` maps files to the downloads that want them.
    """
    uses: dict[Path, _Use] = {}
    for manifest in library.all_manifests():
        for path in _files_of(manifest):
            use = uses.setdefault(Path(os.path.realpath(path)), _Use(_owner(manifest, path, library.fetched)))
            use.names.append(manifest.name)
            moments = [moment for moment in (use.used, last_use.of(manifest.weights)) if moment]
            use.used = max(moments, default=None)
    for path in (*library.blobs.files(), *library.fetched.files()):
        uses.setdefault(Path(os.path.realpath(path)), _wanted(path, arriving))
    files = [file for path, use in uses.items() if (file := _file(path, use))]
    return sorted(files, key=lambda file: file.size_bytes, reverse=True)


def _owner(manifest: Manifest, path: Path, fetched: FetchedFiles) -> Provider:
    """The program that a model's file belongs to: in a shared cache not always that of the model."""
    is_ours = manifest.provider != "oprel" or not fetched.holds(path) or fetched.owns(content_of(path))
    return manifest.provider if is_ours else "huggingface"


def _files_of(manifest: Manifest) -> Iterator[Path]:
    """The files of a model; for a folder used in place, the files in it."""
    for path in manifest.files:
        yield from (file for file in path.iterdir() if file.is_file()) if path.is_dir() else (path,)


def duplicates(files: Sequence[StoredFile]) -> list[list[StoredFile]]:
    """Groups of distinct files with the same content."""
    groups: dict[str, dict[tuple[int, int], StoredFile]] = {}
    for file in files:
        if file.digest:
            groups.setdefault(file.digest, {}).setdefault(file.identity, file)
    return [[*group.values()] for group in groups.values() if len(group) > 1]


async def verify(
    files: Sequence[StoredFile], away: Mapping[Path, Sequence[str]]
) -> AsyncGenerator[ProgressResponse, None]:
    """Verify each file and yield each step; "success" is the last. Raises InvalidModelError, which lists damaged files.

    A step without a digest belongs to a file of unknown digest, of which only the header was checked, or to what cannot
    be seen: `away` maps folders to the models that have files there.
    """
    for folder, names in away.items():
        yield ProgressResponse(status=f"{NOT_CHECKED}: {', '.join(names)} in {folder}, {UNSEEN}")
    damaged = []
    for file in files:
        status = f"verifying {file.title}"
        try:
            if not file.digest:
                result = await anyio.to_thread.run_sync(_check_header, file.path)
                yield ProgressResponse(status=f"{file.title}: {result}")
                continue
            digest, done = hashlib.sha256(), 0
            while step := await anyio.to_thread.run_sync(_hash_next, file.path, digest, done):
                done += step
                yield ProgressResponse(status=status, digest=file.digest, total=file.size_bytes, completed=done)
            if f"sha256:{digest.hexdigest()}" != file.digest:
                damaged.append(file)
        except (OSError, OprelError):
            damaged.append(file)
    if damaged:
        listed = ", ".join(f"{file.title}, in {file.path}" for file in damaged)
        raise InvalidModelError(
            f"damaged: {listed}",
            "Remove these models with `oprel rm` and unused files with `oprel cache prune`, then pull them again.",
        )
    yield ProgressResponse(status="success")


def _check_header(path: Path) -> str:
    """The result for a file of unknown digest. Raises InvalidModelError for a damaged GGUF."""
    if path.suffix != ".gguf" and not looks_like_gguf(path):
        return "nobody told its digest"
    read_gguf(path)
    return "its header is good, nobody told its digest"


def _wanted(path: Path, arriving: Mapping[Path, Download]) -> _Use:
    """The download that wants a file which no model uses yet."""
    download = arriving.get(path.with_name(path.name.removesuffix(disk.PART)))
    return _Use("oprel", [download.ref.text] if download else [])


def _hash_next(path: Path, digest: "hashlib._Hash", offset: int) -> int:
    """Feed the next bytes to `digest` and return their number. Blocks. Raises OSError."""
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
    except OSError:  # deleted meanwhile, or a model with a missing file
        return None
    if path.name.endswith(".part.json"):  # the state of a transfer
        return None
    partial = segments.saved_segments(disk.state_of(path)) if path.name.endswith(disk.PART) else None
    return StoredFile(
        path=path,
        size_bytes=partial.done_bytes if partial else status.st_size,
        identity=(status.st_dev, status.st_ino),
        digest=digest_in_name(path),
        provider=use.provider,
        names=tuple(dict.fromkeys(use.names)),
        used=use.used,
        total_bytes=partial.size_bytes if partial else None,
    )


def digest_in_name(path: Path) -> str:
    """`sha256:` and 64 hex digits, if that is what the store named the file by; else ""."""
    match = _DIGEST.fullmatch(path.name)
    return f"sha256:{match[1]}" if match else ""
