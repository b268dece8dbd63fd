"""Resolves model names to installed models with their headers; independent of engines."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from oprel.core.config import Config
from oprel.core.configuration import installation
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, UnsupportedError, ValidationError
from oprel.core.models.blobs import Blobs
from oprel.core.models.disks import Disks, away_error
from oprel.core.models.known_names import resolve_in_repository
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import ModelRef, NameKind
from oprel.formats.checks.validation import NAMED
from oprel.formats.gguf import GGUFFile, looks_like_gguf, read_gguf
from oprel.formats.headers.other_header import OtherHeader, is_other, read_other
from oprel.formats.headers.whole import read_whole
from oprel.formats.hugging_face.conversion.bert import is_bert
from oprel.formats.readers import knows
from oprel.server.models.conversions import Conversions, Version
from oprel.server.models.fetched import FetchedFiles
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.summaries import ModelList, Summaries, model_files, places_of
from oprel.stores import stores_in
from oprel.stores.seen import FILE, SeenStores
from oprel.telemetry.memory.estimator import projector_bytes
from oprel.telemetry.memory.image_tokens import ImageTokens, image_tokens
from oprel.utils.file_cache import FileCache, states_of

Result = TypeVar("Result")

MAX_HEADERS = 256  # cached, about 100 KB each; the oldest is dropped first
HEADERS_OF_LISTS = 8  # a list needs each once, but for copies


class Library:
    """Finds models by name. A header is read once per file, and again when the file changes.

    Includes other programs' models unless one of ours has the same name. `manifests`, `blobs`, `fetched` and
    `conversions` are for code that creates and deletes models.
    """

    def __init__(self, config: Config) -> None:
        self.manifests = Manifests.of(config)
        self.blobs = Blobs(config.models_dir / "blobs")
        self.fetched = FetchedFiles(config)
        self.conversions = Conversions(config.models_dir / "converted")
        self.disks = Disks.of(config)
        self._stores = stores_in(places := config.places, SeenStores(config.home_dir / FILE, places.moved))
        self._headers: FileCache[GGUFFile] = FileCache(MAX_HEADERS)
        self._models: FileCache[InstalledModel] = FileCache(MAX_HEADERS)
        self._summaries = Summaries(partial(self._installed, headers=FileCache(HEADERS_OF_LISTS)))
        self._surveying = anyio.CapacityLimiter(1)

    async def find(self, name: str, *, may_use_paths: bool) -> InstalledModel:
        """The model called `name`.

        Only the machine's own user may use paths (`may_use_paths`). Anything that is not a model is "not found", so the
        answer reveals nothing about other files. Raises ModelNotFoundError, InvalidModelError, ReinstalledError.
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
            model = self._models.get(ref)
            return model if model else await anyio.to_thread.run_sync(self._find, ref)
        except ModelNotFoundError:
            if installation.was_replaced() and not self.manifests.sees_bundled():
                raise installation.reinstalled(
                    f"model '{name}' is not found, and the bundled models are gone"
                ) from None
            raise unknown from None

    def _find(self, ref: ModelRef) -> InstalledModel:
        if ref.kind is NameKind.PATH and not _may_be_model(ref.path):
            raise ModelNotFoundError(f"there is no model at {ref.text}")
        states = states_of(self.manifests.places(ref))
        manifest = self.manifest(ref)
        states += states_of((*self.manifests.places(ModelRef.parse(manifest.name)), *places_of(manifest)))
        model = self._installed(manifest)
        _ = model.info, model.thinking, model.conventions  # learned here: a long template takes long to read
        if manifest.provider in ("oprel", "bundled"):  # others change in more ways
            self._models.put(ref, model, tuple(dict.fromkeys(states)))
        return model

    def manifest(self, ref: ModelRef) -> Manifest:
        """The manifest of a name or path. Blocks to read the disk. Raises ModelNotFoundError."""
        try:
            return self.manifests.get(ref)
        except ModelNotFoundError:
            if model := self._stores.find(ref):
                return model
            if away := next((model for model in self._stores.away() if model.key == ref.key), None):
                raise away_error(away, away.weights) from None
            raise

    def copy(self, source: ModelRef, destination: ModelRef) -> Manifest:
        """Give `source` a second name and return its manifest. Raises the same as `manifest` and `Manifests.put`."""
        return self.manifests.put(replace(self.manifest(source), name=destination.text, also=()))

    def check(self, manifest: Manifest) -> InstalledModel:
        """The model of a manifest that is not saved yet. Blocks to read its header. Raises InvalidModelError."""
        return self._installed(manifest)

    async def survey(self, make: Callable[[ModelList], Result]) -> Result:
        """`make` of all models; those of other programs unless we have a name for them.

        Both run in a worker thread, as they take long with thousands of models, and for one caller at a time.
        """
        return await anyio.to_thread.run_sync(lambda: make(self._survey()), limiter=self._surveying)

    def all_manifests(self) -> list[Manifest]:
        """The manifests of all names, even those with missing files. Blocks to walk the stores."""
        own = list(self.manifests)
        names, files = {manifest.key for manifest in own}, {manifest.weights for manifest in own}
        others = (manifest for manifest in self._stores.all() if manifest.weights not in files)
        return [*own, *(manifest for manifest in others if manifest.key not in names)]

    def sees_everything(self) -> bool:
        """Whether no manifest is unreadable, and no disk with models away. Blocks to look at each file."""
        files = [file for manifest in self.all_manifests() for file in manifest.files]
        return not (self.manifests.uses().unreadable or self._stores.away() or any(map(self.disks.away, files)))

    def _survey(self) -> ModelList:
        models = self._summaries.of(manifests := self.all_manifests())
        names = {manifest.key for manifest in manifests}
        away = [model for model in self._stores.away() if model.key not in names]
        return replace(models, faults=[*models.faults, *((model, away_error(model, model.weights)) for model in away)])

    def _installed(self, manifest: Manifest, headers: FileCache[GGUFFile] | None = None) -> InstalledModel:
        """The model of a manifest. A header that is not in memory is kept in `headers`. Raises InvalidModelError."""
        try:
            manifest.weights.stat()
            files = {file: file.stat() for file in manifest.files}
        except OSError as error:
            if folder := self.disks.away(Path(error.filename)):
                raise away_error(manifest, folder) from error
            raise InvalidModelError(
                f"the file of model '{manifest.name}' cannot be read: {error.strerror}",
                f"Check that {error.filename} still exists.",
            ) from error
        weights = manifest.parts or model_files(manifest.weights)
        projector = self._projector(manifest.projector, headers) if manifest.projector else None
        header = self._header(weights, partial(self._read, manifest), headers)
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

    def _projector(self, path: Path, headers: FileCache[GGUFFile] | None) -> GGUFFile:
        return self._header((path,), lambda version: read_gguf(path), headers)

    def _header(
        self,
        files: tuple[Path, ...],
        read: Callable[[Version], GGUFFile],
        headers: FileCache[GGUFFile] | None,
    ) -> GGUFFile:
        """The cached header; read again only if one of the files has changed."""
        kept_in = headers or self._headers
        header = self._headers.get(files) or kept_in.get(files)
        if header is None:
            states = states_of(files)
            version = tuple((status.st_mtime_ns, status.st_size) for status in (file.stat() for file in files))
            header = kept_in.put(files, read(version), states)
        return header


def named(name: str, models: Iterable[InstalledModel]) -> InstalledModel | None:
    """The one of these models that the name means."""
    among = {model.manifest.name: model for model in models}
    try:
        ref = ModelRef.parse(name)
    except ValidationError:
        return None
    same = next((model.manifest for model in among.values() if model.manifest.key == ref.key), None)
    manifest = same or resolve_in_repository(ref, [model.manifest for model in among.values()])
    return among[manifest.name] if manifest else None


def _may_be_model(path: Path) -> bool:
    """Whether a path may be a model; reveals nothing about other files."""
    return looks_like_gguf(path) or any(file.suffix in NAMED for file in _listed(path)) or knows(path)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not a folder, or not readable
        return []
