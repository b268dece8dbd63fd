"""Imports the user's files as models, for `POST /api/models/import`."""

import os
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import InvalidModelError
from oprel.core.models.blobs import Blobs, with_colon
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.core.variants import RepoFile, folder_files, projector_of, variants
from oprel.formats.checks.validation import require_sound
from oprel.formats.gguf import read_gguf
from oprel.server.models.library import Library
from oprel.utils.files import held
from oprel.utils.process import systems
from oprel.wire.library import ImportHow

WEIGHTS = (".gguf", ".safetensors")


@dataclass(frozen=True)
class ImportedFiles:
    """The files of a model in place: its weights (one file or the ordered parts), and its vision projector.

    For a model in Hugging Face's format, `weights` are all files that engines need from its `folder`.
    """

    weights: tuple[Path, ...]
    projector: Path | None = None
    folder: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.weights, *([self.projector] if self.projector else []))


def files_at(path: Path) -> ImportedFiles:
    """The model that a file belongs to, with all parts, or the only model of a folder, with its projector.

    Blocks to list the folder. Raises InvalidModelError.
    """
    try:
        return _files_at(path)
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error


def _files_at(path: Path) -> ImportedFiles:
    folder = path if path.is_dir() else path.parent
    files = sorted(file for file in (*folder.iterdir(), *folder.glob("[0-9]*_*/*")) if file.is_file())
    listed = [RepoFile(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]
    models = variants(listed)
    if not path.is_dir():
        own = next((model for model in models if path.name in {file.path for file in model.files}), None)
        return ImportedFiles(tuple(folder / file.path for file in own.files) if own else (path,))
    if len(models) > 1:
        raise InvalidModelError(f"{path} contains {len(models)} models", "Give the path of one file.")
    if not models:
        return _files_of_folder(path, listed)
    projector = projector_of(listed, models[0])
    weights = tuple(folder / file.path for file in models[0].files)
    return ImportedFiles(weights, folder / projector.path if projector else None)


def _files_of_folder(folder: Path, listed: Sequence[RepoFile]) -> ImportedFiles:
    files = tuple(folder / file.path for file in folder_files(listed))
    if not files:
        step = "Give a .gguf file, or a folder with one or with safetensors and their config.json."
        raise InvalidModelError(f"{folder} contains no model", step)
    return ImportedFiles(files, folder=folder)


async def import_model(
    library: Library, name: ModelRef, files: ImportedFiles, how: ImportHow
) -> AsyncGenerator[ProgressResponse, None]:
    """Make a model of the files and yield each step; "success" is the last.

    "link" shares the bytes with the user's file if the file system allows it (a reflink, else a hard link), and copies
    them otherwise; "in_place" uses the files where they are. Raises InvalidModelError for an invalid model, OprelError.
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
    """Blocks to read headers. Raises InvalidModelError."""
    if files.folder:
        require_sound(files.folder)
        return
    header = read_gguf(files.weights[0])
    if not header.block_count or header.architecture == "clip" or header.metadata.get("general.type") == "adapter":
        what = f"{files.weights[0]} is not a model by itself"
        raise InvalidModelError(what, "Give the weights, or a folder with the weights and their projector.")


def _manifest(name: ModelRef, files: ImportedFiles, stored: Mapping[Path, Path], blobs: Blobs) -> Manifest:
    """The manifest of the files, in `stored` or in place. Blocks to create links."""
    parts = tuple(stored.get(path, path) for path in files.weights)
    if files.folder:
        names = {path.relative_to(files.folder).as_posix(): stored[path] for path in files.weights if stored}
        return Manifest(name=name.text, weights=blobs.folder(names) if stored else files.folder, parts=parts)
    is_split = len(parts) > 1
    weights = blobs.join(parts) if is_split and stored else parts[0]
    projector = stored.get(files.projector, files.projector) if files.projector else None
    return Manifest(name=name.text, weights=weights, parts=parts if is_split else (), projector=projector)


def _store(blobs: Blobs, path: Path, how: ImportHow) -> Path:
    """Store a file as a blob. Blocks to hash it. Raises OprelError, ValidationError."""
    with blobs.temporary() as temporary, path.open("rb") as source:
        held(source.fileno())  # a hard link of it is as temporary as the file that it replaces
        is_text = path.suffix not in WEIGHTS  # users edit these in place, so they are never hard-linked
        if how == "copy" or not (_cloned(path, temporary) or (not is_text and _linked(path, temporary))):
            shutil.copyfile(path, temporary)
        stored = blobs.adopt(temporary)
    blobs.find(with_colon(stored.name))  # promises the blob until a manifest refers to it
    return stored


def _cloned(path: Path, target: Path) -> bool:
    try:
        with path.open("rb") as source, target.open("wb") as copy:
            systems.clone(source.fileno(), copy.fileno())
    except OSError:
        return False
    return True


def _linked(path: Path, target: Path) -> bool:
    """Hard-link a file. Writes to one name affect both, which is acceptable since models are not edited."""
    try:
        target.unlink()
        os.link(path.resolve(), target)
    except OSError:
        target.touch()
        return False
    return True
