"""The models that can be asked for: names resolved to files whose headers were read. Knows no engine."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from oprel.core.blobs import Blobs
from oprel.core.completion import Mode
from oprel.core.config import Config
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, OprelError, ValidationError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import ModelRef, NameKind
from oprel.formats.checks.validation import NAMED
from oprel.formats.gguf import GGUFFile, SkippedArray, looks_like_gguf, read_gguf
from oprel.formats.headers.other_header import OtherHeader, is_other, read_other
from oprel.formats.headers.whole import read_whole
from oprel.formats.model_info import ModelInfo, from_gguf
from oprel.formats.readers import knows
from oprel.formats.templates import go_template
from oprel.stores import stores_in
from oprel.telemetry.memory.estimator import projector_bytes

Version = tuple[tuple[int, int], ...]  # of each file the time, in ns, and the size

MAX_HEADERS = 256  # kept, of some 100 KB each; the oldest goes first


RANK_POOLING = 4
# What llama.cpp takes for the tokens before, after and in the middle of a gap, and what it took before September 2024.
FIM_KEYS = (
    ("fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id"),
    ("prefix_token_id", "suffix_token_id", "middle_token_id"),
)


@dataclass(frozen=True)
class InstalledModel:
    """A model of this machine. `name` is the canonical name, `modified` the time of its newest file.

    `other_bytes` is the size of its files beside the weights: adapters, a projector. `projector_bytes` is what
    reading images takes, `adapter_bytes` what adapters do.
    """

    name: str
    manifest: Manifest
    header: GGUFFile
    modified: datetime
    other_bytes: int = 0
    projector_bytes: int = 0
    adapter_bytes: int = 0

    @property
    def weights(self) -> Path:
        return self.manifest.weights

    @property
    def info(self) -> ModelInfo:
        return self.header.info if isinstance(self.header, OtherHeader) else from_gguf(self.header)

    @property
    def is_gguf(self) -> bool:
        """Whether llama.cpp reads it; else it is a folder as Hugging Face has them, or of a format of a package's."""
        return not isinstance(self.header, OtherHeader)

    @property
    def size_bytes(self) -> int:
        return self.header.size_bytes + self.other_bytes

    @property
    def changed(self) -> datetime:
        """When the model was made or changed: the time of its manifest, or of its file where it has none."""
        written = self.manifest.written
        return datetime.fromtimestamp(written).astimezone() if written else self.modified

    @property
    def source(self) -> str:
        """Where it was fetched from, else who keeps it."""
        return self.manifest.source or self.manifest.provider

    @property
    def digest(self) -> str:
        """64 hex digits that change with the manifest or the file. Not of the content: that may be 100 GB to read.

        A copy has its source's.
        """
        identity = asdict(replace(self.manifest, name="", source="", provider="oprel", chosen=0.0, written=0.0))
        identity |= {"size": self.header.size_bytes, "modified": self.modified.isoformat()}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def embeds_only(self) -> bool:
        return self.header.pooling_type is not None

    @property
    def usual_mode(self) -> Mode:
        """What an engine is started for where a request does not say."""
        return Mode.EMBEDDING if self.embeds_only else Mode.COMPLETION

    @property
    def reranks(self) -> bool:
        return self.header.pooling_type == RANK_POOLING

    @property
    def sees(self) -> bool:
        return self.manifest.projector is not None

    @property
    def vocabulary_size(self) -> int:
        """Tokens that there are; 0 where the file does not say."""
        found = self.header.metadata.get("tokenizer.ggml.tokens")
        if isinstance(found, SkippedArray):
            return found.count
        return len(found) if isinstance(found, tuple) else 0

    @property
    def bos_token(self) -> int | None:
        """The token that begins a text."""
        found = self.header.metadata.get("tokenizer.ggml.bos_token_id")
        return found if isinstance(found, int) else None

    @property
    def chat_template(self) -> str | None:
        """As Jinja: the manifest's, or the file's where that has none or one that cannot be translated."""
        if self.manifest.template:
            try:
                return go_template.to_jinja(self.manifest.template)
            except OprelError:
                pass  # `create` told the user
        return self.header.chat_template

    @property
    def notes(self) -> list[str]:
        """What of the manifest is not followed, for people."""
        try:
            go_template.to_jinja(self.manifest.template)
        except OprelError as error:
            instead = "the model's own is used" if self.header.chat_template else "the engine's usual one is used"
            return [f"{error.message}: {instead}"]
        return []

    @property
    def fim_tokens(self) -> tuple[int, int, int] | None:
        """The tokens before, after and in the middle of a gap that the model can fill; None when it cannot."""
        for keys in FIM_KEYS:
            match [self.header.metadata.get(f"tokenizer.ggml.{key}") for key in keys]:
                case [int(before), int(after), int(middle)]:
                    return before, after, middle
        return None

    @property
    def capabilities(self) -> list[str]:
        if self.embeds_only:
            return ["rerank" if self.reranks else "embedding"]
        template = self.chat_template or ""
        wanted = {
            "tools": "tools" in template,
            "thinking": "<think>" in template or "enable_thinking" in template,
            "insert": self.fim_tokens is not None,
            "vision": self.sees,
        }
        return ["completion", *(name for name, there in wanted.items() if there)]


class Library:
    """Finds models by name. Headers are read once a file and again when it changes.

    Those of other programs count too, where none of our own has the name. `manifests` and `blobs` are for those who
    make and delete models.
    """

    def __init__(self, config: Config) -> None:
        self.manifests = Manifests(config.models_dir)
        self.blobs = Blobs(config.models_dir / "blobs")
        self._stores = stores_in(config.places)
        self._headers: dict[tuple[Path, ...], tuple[Version, GGUFFile]] = {}

    async def find(self, name: str, *, may_use_paths: bool) -> InstalledModel:
        """The model called `name`.

        Paths are for the machine's own user (`may_use_paths`). What is no model is "not found" whatever it is, so that
        the answer tells nothing about other files. Raises ModelNotFoundError, InvalidModelError.
        """
        unknown = ModelNotFoundError(
            f"model '{name}' not found",
            "`oprel list` shows the names there are; a path must name a GGUF file, or a folder of safetensors.",
        )
        try:
            ref = ModelRef.parse(name)
        except ValidationError:
            raise unknown from None
        if ref.kind is NameKind.PATH and not may_use_paths:
            raise unknown
        try:
            return await anyio.to_thread.run_sync(self._found, ref)
        except ModelNotFoundError:
            raise unknown from None

    def _found(self, ref: ModelRef) -> InstalledModel:
        if ref.kind is NameKind.PATH and not _may_be_model(ref.path):
            raise ModelNotFoundError(f"no model is at {ref.text}")
        return self._installed(self.manifest(ref))

    def manifest(self, ref: ModelRef) -> Manifest:
        """What a name or a path stands for. Blocks for a look at the disk. Raises ModelNotFoundError."""
        try:
            return self.manifests.get(ref)
        except ModelNotFoundError:
            if found := self._stores.find(ref):
                return found
            raise

    def copy(self, source: ModelRef, destination: ModelRef) -> Manifest:
        """Give `source` a second name, and return that. Raises as `manifest`, and as `Manifests.put`."""
        return self.manifests.put(replace(self.manifest(source), name=destination.text))

    def check(self, manifest: Manifest) -> InstalledModel:
        """The model of a manifest that is not written down yet. Blocks for its header. Raises InvalidModelError."""
        return self._installed(manifest)

    async def all(self) -> list[InstalledModel]:
        """Every named model whose file can be used, newest first; of those in place the ones without a name of ours."""
        return (await self.survey())[0]

    async def survey(self) -> tuple[list[InstalledModel], list[tuple[Manifest, OprelError]]]:
        """What `all` has, and the others with what is wrong with them."""
        return await anyio.to_thread.run_sync(self._survey)

    def known(self) -> list[Manifest]:
        """What all names stand for, whether their files are there or not. Blocks for a walk of the stores."""
        own = list(self.manifests)
        names = {ModelRef.parse(manifest.name).key for manifest in own}
        files = {manifest.weights for manifest in own}
        others = (one for one in self._stores.all() if one.weights not in files)
        return [*own, *(one for one in others if ModelRef.parse(one.name).key not in names)]

    def _survey(self) -> tuple[list[InstalledModel], list[tuple[Manifest, OprelError]]]:
        usable, faults = [], []
        for manifest in self.known():
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
                f"Is {error.filename} still there?",
            ) from error
        weights = manifest.parts or _files_of(manifest.weights)
        header = self._header(weights, lambda: _read(manifest))
        return InstalledModel(
            manifest.name,
            manifest,
            header,
            modified=datetime.fromtimestamp(max(path.stat().st_mtime for path in (*files, *weights))).astimezone(),
            other_bytes=sum(files[file].st_size for file in manifest.beside),
            projector_bytes=self._projector_bytes(manifest.projector) if manifest.projector else 0,
            adapter_bytes=sum(files[file].st_size for file in manifest.adapters),
        )

    def _projector_bytes(self, path: Path) -> int:
        return projector_bytes(self._header((path,), lambda: read_gguf(path)))

    def _header(self, files: tuple[Path, ...], read: Callable[[], GGUFFile]) -> GGUFFile:
        """Read again only when one of the files is another one by now."""
        version = tuple((status.st_mtime_ns, status.st_size) for status in (file.stat() for file in files))
        known = self._headers.get(files)
        if known is None or known[0] != version:
            known = self._headers[files] = version, read()
            while len(self._headers) > MAX_HEADERS:
                self._headers.pop(next(iter(self._headers)), None)
        return known[1]


def _may_be_model(path: Path) -> bool:
    """Of a folder: whether weights are in it. Of others nothing is told."""
    return looks_like_gguf(path) or any(one.suffix in NAMED for one in _listed(path)) or knows(path)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it is none, or not to be looked into
        return []


def _files_of(weights: Path) -> tuple[Path, ...]:
    """Of a folder all its files: whichever changes, it may be another model."""
    return tuple(sorted(one for one in weights.iterdir() if one.is_file())) if weights.is_dir() else (weights,)


def _read(manifest: Manifest) -> GGUFFile:
    """Raises InvalidModelError."""
    weights = manifest.weights
    return read_other(weights) if is_other(weights) else read_whole(weights, manifest.parts)
