"""Resolves model names to installed models with their headers; independent of engines."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import anyio.to_thread

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, UnsupportedError, ValidationError
from oprel.core.models.blobs import Blobs
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import ModelRef, NameKind
from oprel.formats.checks.validation import NAMED
from oprel.formats.gguf import GGUFFile, looks_like_gguf, read_gguf
from oprel.formats.headers.other_header import OtherHeader, is_other, read_other
from oprel.formats.headers.whole import read_whole
from oprel.formats.hugging_face.conversion.bert import is_bert
from oprel.formats.readers import knows
from oprel.server.models.conversions import Conversions, Version
from oprel.server.models.installed_model import InstalledModel
from oprel.stores import stores_in
from oprel.telemetry.memory.estimator import projector_bytes
from oprel.telemetry.memory.image_tokens import ImageTokens, image_tokens

MAX_HEADERS = 256  # cached, about 100 KB each; the oldest is dropped first


class Library:
    """Finds models by name. A header is read once per file, and again when the file changes.

    Includes other programs' models unless one of ours has the same name. `manifests`, `blobs` and `conversions` are for
    code that creates and deletes models.
    """

    def __init__(self, config: Config) -> None:
        self.manifests = Manifests(config.models_dir)
        self.blobs = Blobs(config.models_dir / "blobs")
        self.conversions = Conversions(config.models_dir / "converted")
        self._stores = stores_in(config.places)
        self._headers: dict[tuple[Path, ...], tuple[Version, GGUFFile]] = {}

    async def find(self, name: str, *, may_use_paths: bool) -> InstalledModel:
        """The model called `name`.

        Only the machine's own user may use paths (`may_use_paths`). Anything that is not a model is "not found", so the
        answer reveals nothing about other files. Raises ModelNotFoundError, InvalidModelError.
        """
        message, names = f"model '{name}' not found", "`oprel list` shows the names there are"
        try:
            ref = ModelRef.parse(name)
        except ValidationError:
            raise ModelNotFoundError(message, f"{names}.") from None
        if ref.kind is NameKind.PATH:
            step = f"{names}; a path must name a GGUF file, or a folder of safetensors."
        else:
            step = f"`oprel pull {name}` fetches it, if a source has it; {names}."
        unknown = ModelNotFoundError(message, step)
        if ref.kind is NameKind.PATH and not may_use_paths:
            raise unknown
        try:
            return await anyio.to_thread.run_sync(self._find, ref)
        except ModelNotFoundError:
            raise unknown from None

    def _find(self, ref: ModelRef) -> InstalledModel:
        if ref.kind is NameKind.PATH and not _may_be_model(ref.path):
            raise ModelNotFoundError(f"there is no model at {ref.text}")
        return self._installed(self.manifest(ref))

    def manifest(self, ref: ModelRef) -> Manifest:
        """The manifest of a name or path. Blocks to read the disk. Raises ModelNotFoundError."""
        try:
            return self.manifests.get(ref)
        except ModelNotFoundError:
            if model := self._stores.find(ref):
                return model
            raise

    def copy(self, source: ModelRef, destination: ModelRef) -> Manifest:
        """Give `source` a second name and return its manifest. Raises the same as `manifest` and `Manifests.put`."""
        return self.manifests.put(replace(self.manifest(source), name=destination.text))

    def check(self, manifest: Manifest) -> InstalledModel:
        """The model of a manifest that is not saved yet. Blocks to read its header. Raises InvalidModelError."""
        return self._installed(manifest)

    async def all(self) -> list[InstalledModel]:
        """All named, usable models, newest first; models of other programs unless we have a name for them."""
        return (await self.survey())[0]

    async def survey(self) -> tuple[list[InstalledModel], list[tuple[Manifest, OprelError]]]:
        """The models of `all`, and the unusable ones with their errors."""
        return await anyio.to_thread.run_sync(self._survey)

    def all_manifests(self) -> list[Manifest]:
        """The manifests of all names, even those with missing files. Blocks to walk the stores."""
        own = list(self.manifests)
        names = {ModelRef.parse(manifest.name).key for manifest in own}
        files = {manifest.weights for manifest in own}
        others = (manifest for manifest in self._stores.all() if manifest.weights not in files)
        return [*own, *(manifest for manifest in others if ModelRef.parse(manifest.name).key not in names)]

    def _survey(self) -> tuple[list[InstalledModel], list[tuple[Manifest, OprelError]]]:
        usable, faults = [], []
        for manifest in self.all_manifests():
            try:
                usable.append(self._installed(manifest))
            except OprelError as error:
                faults.append((manifest, error))
        return sorted(usable, key=lambda model: model.changed, reverse=True), faults

    def _installed(self, manifest: Manifest) -> InstalledModel:
        try:
            manifest.weights.stat()
            files = {file: file.stat() for file in manifest.files}
        except OSError as error:
            raise InvalidModelError(
                f"the file of model '{manifest.name}' cannot be read: {error.strerror}",
                f"Check that {error.filename} still exists.",
            ) from error
        weights = manifest.parts or _files_of(manifest.weights)
        projector = self._projector(manifest.projector) if manifest.projector else None
        header = self._header(weights, partial(self._read, manifest))
        return InstalledModel(
            name=manifest.name,
            manifest=manifest,
            header=header,
            modified=datetime.fromtimestamp(max(path.stat().st_mtime for path in (*files, *weights))).astimezone(),
            other_bytes=sum(files[file].st_size for file in manifest.beside),
            projector_bytes=projector_bytes(projector) if projector else 0,
            image_tokens=image_tokens(projector) if projector else ImageTokens(),
            adapter_bytes=sum(files[file].st_size for file in manifest.adapters),
            converted=header.path if manifest.weights.is_dir() and not isinstance(header, OtherHeader) else None,
        )

    def _read(self, manifest: Manifest, version: Version) -> GGUFFile:
        """The header, of what it is converted to if it is. Raises InvalidModelError."""
        weights = manifest.weights
        if is_bert(weights):
            try:
                return self.conversions.header(weights, version)
            except UnsupportedError as error:
                return replace(read_other(weights), obstacle=error.message)
        return read_other(weights) if is_other(weights) else read_whole(weights, manifest.parts)

    def _projector(self, path: Path) -> GGUFFile:
        return self._header((path,), lambda version: read_gguf(path))

    def _header(self, files: tuple[Path, ...], read: Callable[[Version], GGUFFile]) -> GGUFFile:
        """The cached header; read again only if one of the files has changed."""
        version = tuple((status.st_mtime_ns, status.st_size) for status in (file.stat() for file in files))
        cached = self._headers.get(files)
        if cached is None or cached[0] != version:
            cached = self._headers[files] = version, read(version)
            while len(self._headers) > MAX_HEADERS:
                self._headers.pop(next(iter(self._headers)), None)
        return cached[1]


def _may_be_model(path: Path) -> bool:
    """Whether a path may be a model; reveals nothing about other files."""
    return looks_like_gguf(path) or any(file.suffix in NAMED for file in _listed(path)) or knows(path)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not a folder, or not readable
        return []


def _files_of(weights: Path) -> tuple[Path, ...]:
    """All files of a folder, since a change of any of them may change the model."""
    if not weights.is_dir():
        return (weights,)
    return tuple(sorted(file for file in (*weights.iterdir(), *weights.glob("*/config.json")) if file.is_file()))
