"""Files of the user's that become models: what is behind `POST /api/models/import`."""

import fcntl
import os
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.blobs import Blobs, with_colon
from oprel.core.exceptions import InvalidModelError
from oprel.core.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.core.variants import RepoFile, folder_files, projector_of, variants
from oprel.formats.checks.validation import require_sound
from oprel.formats.gguf import read_gguf
from oprel.server.models.library import Library
from oprel.wire.library import ImportHow

FICLONE = 0x40049409  # linux/fs.h: a copy that shares its blocks until one of the two is written to

WEIGHTS = (".gguf", ".safetensors")


@dataclass(frozen=True)
class ImportedFiles:
    """What a model is made of, as it lies there: its parts in order, or one; and what lets it see.

    Of one in Hugging Face's own form, `weights` are all files that engines read of its `folder`.
    """

    weights: tuple[Path, ...]
    projector: Path | None = None
    folder: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.weights, *([self.projector] if self.projector else []))


def files_at(path: Path) -> ImportedFiles:
    """The model of a file, with all its parts, or the only one of a folder, with its projector.

    Blocks for a look at the folder. Raises InvalidModelError.
    """
    try:
        return _files_at(path)
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error


def _files_at(path: Path) -> ImportedFiles:
    folder = path if path.is_dir() else path.parent
    listed = [RepoFile(one.name, one.stat().st_size) for one in sorted(folder.iterdir()) if one.is_file()]
    found = variants(listed)
    if path.is_dir():
        if len(found) > 1:
            raise InvalidModelError(f"{path} has {len(found)} models in it", "Give the path of one file.")
        if not found:
            return _files_of_folder(path, listed)
        eyes = projector_of(listed, found[0])
        return ImportedFiles(tuple(folder / one.path for one in found[0].files), folder / eyes.path if eyes else None)
    whole = next((one for one in found if path.name in {file.path for file in one.files}), None)
    return ImportedFiles(tuple(folder / one.path for one in whole.files) if whole else (path,))


def _files_of_folder(folder: Path, listed: Sequence[RepoFile]) -> ImportedFiles:
    files = tuple(folder / one.path for one in folder_files(listed))
    if not files:
        step = "Give a .gguf file, or a folder with one, or with safetensors and their config.json."
        raise InvalidModelError(f"{folder} has no model in it", step)
    return ImportedFiles(files, folder=folder)


async def adopted(
    library: Library, name: ModelRef, files: ImportedFiles, how: ImportHow
) -> AsyncGenerator[ProgressResponse, None]:
    """Give the files a name, and tell of each step; "success" is the last.

    "link" shares the bytes with the user's file where the file system can (a reflink, else a hard link), and else
    copies them; "in_place" leaves them where they are. Raises InvalidModelError for what is no model, OprelError.
    """
    await anyio.to_thread.run_sync(_require_model, files)
    stored = dict[Path, Path]()
    for path in files.all:
        if how != "in_place":
            yield ProgressResponse(status=f"reading {path.name}")
            stored[path] = await anyio.to_thread.run_sync(_store, library.blobs, path, how)
            yield ProgressResponse(status=f"using layer {with_colon(stored[path].name)}")
    manifest = await anyio.to_thread.run_sync(_manifest, name, files, stored, library.blobs)
    yield ProgressResponse(status="writing manifest")
    await anyio.to_thread.run_sync(library.manifests.put, manifest)
    library.blobs.release(manifest.places)
    yield ProgressResponse(status="success")


def _require_model(files: ImportedFiles) -> None:
    """Blocks for the reading of headers. Raises InvalidModelError."""
    if files.folder:
        require_sound(files.folder)
        return
    header = read_gguf(files.weights[0])
    if not header.block_count or header.architecture == "clip" or header.metadata.get("general.type") == "adapter":
        told = f"{files.weights[0]} is no model alone"
        raise InvalidModelError(told, "Name the weights, or a folder with them and their projector.")


def _manifest(name: ModelRef, files: ImportedFiles, stored: Mapping[Path, Path], blobs: Blobs) -> Manifest:
    """Of the files as they are `stored`, or where they lie. Blocks for the making of links."""
    parts = tuple(stored.get(path, path) for path in files.weights)
    if files.folder:
        names = {path.name: stored[path] for path in files.weights if stored}
        return Manifest(name.text, blobs.folder(names) if stored else files.folder, parts=parts)
    is_split = len(parts) > 1
    weights = blobs.join(parts) if is_split and stored else parts[0]
    projector = stored.get(files.projector, files.projector) if files.projector else None
    return Manifest(name.text, weights, parts=parts if is_split else (), projector=projector)


def _store(blobs: Blobs, path: Path, how: ImportHow) -> Path:
    """The file among the blobs. Blocks for as long as it is read. Raises OprelError, ValidationError."""
    with blobs.temporary() as temporary:
        is_text = path.suffix not in WEIGHTS  # which people edit in place
        if how == "copy" or not (_cloned(path, temporary) or (not is_text and _linked(path, temporary))):
            shutil.copyfile(path, temporary)
        stored = blobs.adopt(temporary)
    blobs.find(with_colon(stored.name))  # and it stays until a manifest names it
    return stored


def _cloned(path: Path, target: Path) -> bool:
    try:
        with path.open("rb") as source, target.open("wb") as copy:
            fcntl.ioctl(copy.fileno(), FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _linked(path: Path, target: Path) -> bool:
    """A link is the same file: what is written to one is in both, which for models nobody does."""
    try:
        target.unlink()
        os.link(path.resolve(), target)
    except OSError:
        target.touch()
        return False
    return True
