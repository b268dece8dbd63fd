"""Ollama's store: `manifests/HOST/NAMESPACE/MODEL/TAG` and `blobs/sha256-HEX`, where models are plain GGUF files.

Blobs of early versions are called `sha256:HEX`.
"""

from collections.abc import Iterator
from pathlib import Path

from oprel.core.exceptions import InvalidModelError, OprelError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.core.names import OLLAMA_HOST, OLLAMA_NAMESPACE, ModelRef, NameKind
from oprel.formats import ollama_manifest
from oprel.formats.ollama_manifest import LONGEST_TEXT, TEXTS, Layer, OllamaManifest
from oprel.stores.base import StoredModel, is_inside, version_of
from oprel.utils.file_cache import FileCache, states_of


class OllamaStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifests = folder / "manifests"
        self._blobs = folder / "blobs"
        self._models: FileCache[StoredModel] = FileCache()

    def models(self) -> Iterator[StoredModel]:
        files = sorted(self._manifests.glob("*/*/*/*"))
        self._models.keep_only(set(files))
        for file in files:
            try:
                yield self._models.get(file) or self._model(file)
            except (OSError, OprelError):  # an unfinished download, or another kind of model
                continue

    def _model(self, file: Path) -> StoredModel:
        if not is_inside(file, self._manifests):
            raise InvalidModelError(f"{file} is outside of Ollama's store")
        before = states_of([file])
        model = StoredModel(self._read(file), file, version_of(file))
        return self._models.put(file, model, before + states_of(model.manifest.files))

    def _read(self, file: Path) -> Manifest:
        name = _name(*file.relative_to(self._manifests).parts)
        parsed = ollama_manifest.parse(_content(file), name)
        contents = {layer.digest: _content(self._blob(layer)) for layer in parsed.of(*TEXTS)}
        texts = ollama_manifest.texts(parsed, contents, name)
        projectors = self._files(parsed, "projector")
        return Manifest(
            name=name,
            weights=self._files(parsed, "model")[0],
            template=texts.template,
            system=texts.system,
            license=texts.license,
            parameters=texts.parameters,
            messages=texts.messages,
            projector=projectors[0] if projectors else None,
            adapters=self._files(parsed, "adapter"),
            provider="ollama",
            written=file.stat().st_mtime,
        )

    def _files(self, parsed: OllamaManifest, kind: str) -> tuple[Path, ...]:
        return tuple(self._blob(layer) for layer in parsed.of(kind))

    def _blob(self, layer: Layer) -> Path:
        """The path of a layer's blob. Raises InvalidModelError if it is missing or outside the store."""
        names = (layer.file_name, layer.digest)  # early versions of Ollama wrote the colon
        path = next((file for name in names if (file := self._blobs / name).is_file()), None)
        if path is None or not is_inside(path, self._blobs):
            raise InvalidModelError(f"Ollama's store lacks {layer.digest}", "Pull the model again with Ollama.")
        return path


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(LONGEST_TEXT + 1)
    if len(content) > LONGEST_TEXT:
        raise InvalidModelError(f"{file} is too large", "Pull the model again with Ollama.")
    return content


def _name(host: str, namespace: str, model: str, tag: str) -> str:
    """The name as Ollama displays it. Raises ValidationError for an invalid name."""
    short = f"{model}:{tag}"
    if host != OLLAMA_HOST:
        short = f"{host}/{namespace}/{short}"
    elif namespace != OLLAMA_NAMESPACE:
        short = f"{namespace}/{short}"
    if (ref := ModelRef.parse(short)).kind is not NameKind.NAME:
        raise ValidationError(f"{short!r} is not a valid model name")
    return ref.text
