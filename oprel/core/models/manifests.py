"""Model names on disk: one small JSON manifest per name under OPREL_HOME/models, plus the bundled models.

This module owns those manifests. A manifest refers to the weights in place (nothing is copied) and holds what a
Modelfile adds. Paths inside OPREL_HOME/models and the package are stored relative to it, so both may be moved.
Downloaded files are found by `core/models/moved` if their folder was moved.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, UnsupportedError, ValidationError, not_stored
from oprel.core.models.file_uses import FileUses, ManifestUses, read_uses
from oprel.core.models.known_names import older_keys, resolve_in_repository
from oprel.core.models.modelfile import Modelfile, Parameter
from oprel.core.models.moved import MovedFiles
from oprel.core.names import HUB_HOST, ModelRef, NameKind, hub_origin
from oprel.utils.file_cache import FileCache, states_of
from oprel.utils.files import can_list, read_own, set_aside, write_atomically

Provider = Literal["oprel", "bundled", "ollama", "huggingface", "lmstudio", "llama.cpp"]

BUNDLED = Path(__file__).parents[2] / "bundled"
BUNDLED_PREFIX = "bundled:"
LONGEST_FILE_NAME = 200  # bytes; leaves space for what `write_atomically` adds
SHORTENED = 100  # bytes kept of a longer name, before its hash
OLDER_BEGINNINGS = ("library%2F", "registry.ollama.ai%2F")  # of files that earlier versions wrote, see `older_keys`


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a named model. Paths are absolute; `parameters` use Ollama's option names.

    `weights` is a GGUF file (the first one of a split model, whose blobs are `parts`) or a folder in Hugging Face's
    layout with the files `parts`. `projector` is an mmproj for vision, `adapters` are LoRAs, `template` is Jinja or
    Ollama's Go, as the user wrote it. `parent` is the model that this one was created from; `source` is where its files
    came from, such as "hf.co/ORG/REPO"; `also` are other names of the same model, see `known_names`. `provider` is the
    program that stores the model; models of other programs are read-only. Times are in seconds since 1970: `written` is
    that of the manifest file (0 without one), `chosen` that of a pull which named no quantization and chose this model
    (0 if none did).
    """

    name: str
    weights: Path
    system: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    license: str = ""
    template: str = ""
    adapters: tuple[Path, ...] = ()
    projector: Path | None = None
    parts: tuple[Path, ...] = ()
    parent: str = ""
    source: str = ""
    also: tuple[str, ...] = ()
    provider: Provider = "oprel"
    chosen: float = 0.0
    written: float = field(default=0.0, compare=False)

    @cached_property
    def key(self) -> str:
        """The key of its name for comparisons."""
        return ModelRef.parse(self.name).key

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of all its names."""
        return (self.key, *(ModelRef.parse(name).key for name in self.also))

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that an engine reads; for a split model the parts, without the link to the first one."""
        return (*(self.parts or (self.weights,)), *self.beside)

    @property
    def beside(self) -> tuple[Path, ...]:
        """The files other than weights."""
        return (*self.adapters, *([self.projector] if self.projector else []))

    @property
    def places(self) -> tuple[Path, ...]:
        """The files, plus the link and its folder if there is one."""
        return (*self.files, self.weights, self.weights.parent)

    def modelfile(self) -> Modelfile:
        """A Modelfile that creates an equal model."""
        return Modelfile(
            from_=str(self.weights),
            also_from=(str(self.projector),) if self.projector else (),
            adapters=tuple(str(path) for path in self.adapters),
            template=self.template or None,
            system=self.system or None,
            parameters=self.parameters,
            messages=self.messages,
            licenses=(self.license,) if self.license else (),
        )


class Manifests:
    """The model names of one OPREL_HOME. A file is read once, and again when it changes. Threads may share it."""

    def __init__(self, folder: Path, bundled: Path = BUNDLED, fetched: tuple[Path, ...] = ()) -> None:
        """`fetched`: the folders of downloaded files, which may have been elsewhere."""
        self._folder = folder
        self._bundled = bundled
        self._moved = MovedFiles(fetched)
        self._manifests: FileCache[Manifest] = FileCache()
        self._uses: FileCache[ManifestUses] = FileCache()
        self._others: FileCache[Mapping[str, str]] = FileCache()

    @classmethod
    def of(cls, config: Config) -> "Manifests":
        return cls(config.models_dir, fetched=config.fetched_dirs)

    def get(self, ref: ModelRef) -> Manifest:
        """The manifest of a name or path. Raises ModelNotFoundError, InvalidModelError for an unreadable manifest."""
        if ref.kind is NameKind.PATH:
            return Manifest(name=ref.text, weights=ref.path)
        manifest = self._exact(ref) or self._by_other_name(ref)
        if manifest is None:
            raise _unknown(ref)
        return manifest

    def put(self, manifest: Manifest, instead_of: Iterable[ModelRef] = ()) -> Manifest:
        """Create or replace a name atomically. Returns the manifest with the spelling of an existing name.

        `instead_of` are other names to delete. Raises OprelError if the manifest cannot be written.
        """
        ref = ModelRef.parse(manifest.name)
        before = self._before(ref) or replace(manifest, name=ref.name)
        manifest = replace(manifest, name=before.name, provider="oprel", chosen=manifest.chosen or before.chosen)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file(ref), json.dumps(self._content(manifest), indent=2).encode())
        except OSError as error:
            raise not_stored(f"the model {ref.text} cannot be saved", error, self._folder) from error
        for key in older_keys(ref):
            self._file_of(key).unlink(missing_ok=True)
        for other in instead_of:
            if other.key != ref.key:
                self._file(other).unlink(missing_ok=True)
        return manifest

    def delete(self, ref: ModelRef) -> str:
        """Delete a name, and return it as `list` shows it; its files stay.

        Raises ModelNotFoundError, UnsupportedError for a bundled model, OSError.
        """
        if file := self._existing(ref):
            if file.is_dir() and not file.is_symlink():
                set_aside(file)  # it may have content that its user wants
            else:
                file.unlink(missing_ok=True)
            return ref.name
        if other := self._by_other_name(ref):
            self._file(ModelRef.parse(other.name)).unlink(missing_ok=True)
            return other.name
        if self._find_bundled(ref):
            raise UnsupportedError(
                f"{ref.text} comes with oprel and cannot be deleted",
                "You can create a model of your own with the same name: `oprel create`.",
            )
        raise _unknown(ref)

    def uses(self) -> FileUses:
        """The files that a manifest uses, or may use. Blocks to look at each."""
        files = self._files("")
        self._uses.keep_only(set(files))
        manifests = {Path(file): self._uses_of(file) for file in files}
        return FileUses(manifests, self._absolute, None if can_list(self._folder) else self._folder)

    def places(self, ref: ModelRef) -> tuple[Path, ...]:
        """What changes when the name gets another manifest: the folder, and the files that the name may have."""
        return (self._folder, self._bundled, *map(self._file_of, (ref.key, *older_keys(ref))))

    def __iter__(self) -> Iterator[Manifest]:
        """All readable manifests; a damaged one hides only itself."""
        return iter(self.starting_with(""))

    def starting_with(self, prefix: str) -> list[Manifest]:
        """The readable manifests whose names begin with `prefix`, in any case."""
        beginning = quote(prefix.casefold(), safe="")[:SHORTENED]
        files = self._files(beginning, *OLDER_BEGINNINGS)
        own = {manifest.key: manifest for manifest in self._readable(files)}
        bundled = {manifest.key: manifest for manifest in self._all_bundled()}
        if not prefix:
            self._manifests.keep_only({*files, *(str(manifest.weights) for manifest in bundled.values())})
        return [manifest for key, manifest in (bundled | own).items() if key.startswith(prefix.casefold())]

    def _files(self, *beginnings: str) -> list[str]:
        """The files of manifests, in order, whose names begin with one of these."""
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:  # there is no model yet
            return []
        return [f"{self._folder}/{name}" for name in names if name.endswith(".json") and name.startswith(beginnings)]

    def _readable(self, files: Iterable[str]) -> Iterator[Manifest]:
        for file in files:
            try:
                yield self._cached(file)
            except InvalidModelError:
                continue

    def _uses_of(self, file: str) -> ManifestUses:
        uses = self._uses.get(file)
        if uses is None:
            states = states_of([file])
            uses = read_uses(Path(file), is_readable=any(self._readable([file])))
            self._uses.put(file, uses, states)
        return uses

    def _by_other_name(self, ref: ModelRef) -> Manifest | None:
        """The model that has the name beside its own, or by that of its repository."""
        files = self._files_by_other_name()
        if manifest := next(iter(self._readable(filter(None, [files.get(ref.key)]))), None):
            return manifest
        origin = hub_origin(ref)
        if origin is None:
            return None
        beginning = f"{HUB_HOST}/{origin.repository}:".casefold()
        others = {file for key, file in files.items() if key.startswith(beginning)}
        own = self._files(quote(beginning, safe="")[:SHORTENED])  # and perhaps of other repositories
        return resolve_in_repository(ref, self._readable(dict.fromkeys((*own, *sorted(others)))))

    def _files_by_other_name(self) -> Mapping[str, str]:
        """The manifests of models that have other names, by the keys of those."""
        files = self._others.get(self._folder)
        if files is None:
            states, listed = states_of([self._folder]), self._files("")
            read = zip(listed, map(self._readable, ([file] for file in listed)), strict=True)
            keys = {ModelRef.parse(name).key: file for file, own in read for manifest in own for name in manifest.also}
            files = self._others.put(self._folder, keys, states)
        return files

    def _file(self, ref: ModelRef) -> Path:
        return self._file_of(ref.key)

    def _file_of(self, key: str) -> Path:
        name = quote(key, safe="")
        if len(name) > LONGEST_FILE_NAME:  # a URL may be longer than a file name
            name = f"{name[:SHORTENED]}~{hashlib.sha256(key.encode()).hexdigest()}"
        return self._folder / f"{name}.json"

    def sees_bundled(self) -> bool:
        """Whether the folder of the bundled models is there."""
        return self._bundled.is_dir()

    def _existing(self, ref: ModelRef) -> Path | None:
        files = map(self._file_of, (ref.key, *older_keys(ref)))
        return next(filter(os.path.lexists, files), None)

    def _exact(self, ref: ModelRef) -> Manifest | None:
        """The manifest with exactly that name. Raises InvalidModelError."""
        file = self._existing(ref)
        return self._cached(str(file)) if file else self._find_bundled(ref)

    def _before(self, ref: ModelRef) -> Manifest | None:
        """The current manifest of the name, if it is readable."""
        try:
            return self._exact(ref)
        except InvalidModelError:
            return None

    def _find_bundled(self, ref: ModelRef) -> Manifest | None:
        return next((model for model in self._all_bundled() if model.key == ref.key), None)

    def _all_bundled(self) -> Iterator[Manifest]:
        for weights in sorted(self._bundled.glob("*.gguf")):
            model = self._manifests.get(str(weights))
            if model is None:
                model = Manifest(name=f"{weights.stem}:latest", weights=weights, provider="bundled")
                self._manifests.put(str(weights), model, states_of([weights]))
            yield model

    def _content(self, manifest: Manifest) -> dict[str, object]:
        content = asdict(manifest) | {
            "weights": self._relative(manifest.weights),
            "adapters": [self._relative(path) for path in manifest.adapters],
            "projector": self._relative(manifest.projector) if manifest.projector else None,
            "parts": [self._relative(path) for path in manifest.parts],
        }
        del content["written"], content["provider"]
        return content

    def _cached(self, file: str) -> Manifest:
        """The manifest in a file, the same object until the file changes. Raises InvalidModelError."""
        manifest = self._manifests.get(file)
        if manifest is None:
            states, manifest = states_of([file]), self._read(Path(file))
            there = self._moved.there(manifest.weights)  # it may come there: then the manifest is read again
            self._manifests.put(file, manifest, states + states_of(there))
        return manifest

    def _read(self, file: Path) -> Manifest:
        try:
            content = json.loads(read_own(file))
            projector = content.get("projector")
            return Manifest(
                name=ModelRef.parse(content["name"]).name,
                weights=self._absolute(content["weights"]),
                system=str(content.get("system", "")),
                parameters=dict(content.get("parameters", {})),
                messages=tuple((str(role), str(text)) for role, text in content.get("messages", ())),
                license=sys.intern(str(content.get("license", ""))),  # many models have the same
                template=sys.intern(str(content.get("template", ""))),
                adapters=tuple(self._absolute(path) for path in content.get("adapters", ())),
                projector=self._absolute(projector) if projector else None,
                parts=tuple(self._absolute(path) for path in content.get("parts", ())),
                parent=str(content.get("parent", "")),
                source=str(content.get("source", "")),
                also=tuple(ModelRef.parse(name).name for name in content.get("also", ())),
                chosen=float(content.get("chosen", 0)),
                written=file.stat().st_mtime,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError) as error:
            raise InvalidModelError(
                f"the manifest {file} cannot be read: {error}", f"Delete {file} and add the model again."
            ) from error

    def _relative(self, path: Path) -> str:
        for prefix, folder in ((BUNDLED_PREFIX, self._bundled), ("", self._folder)):
            if path.is_relative_to(folder):
                return f"{prefix}{path.relative_to(folder)}"
        return str(path)

    def _absolute(self, text: str) -> Path:
        if text.startswith(BUNDLED_PREFIX):
            return self._bundled / text.removeprefix(BUNDLED_PREFIX)
        return self._moved.resolve(self._folder / text)  # an absolute path replaces the folder


def _unknown(ref: ModelRef) -> ModelNotFoundError:
    return ModelNotFoundError(f"model '{ref.text}' not found", "`oprel list` shows all names.")
