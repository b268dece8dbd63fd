"""What lists show of models: made once for the state of a model's files, and small, so that 10 000 stay in memory."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from oprel.core.exceptions import OprelError
from oprel.core.models.manifests import Manifest
from oprel.server.models.installed_model import HeaderSummary, InstalledModel
from oprel.utils.file_cache import FileCache, states_of


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelSummary:
    """An `InstalledModel` without its header; see there."""

    manifest: Manifest
    header_summary: HeaderSummary
    changed: datetime
    size_bytes: int
    digest: str
    capabilities: tuple[str, ...]
    notes: tuple[str, ...]
    _encoded: "dict[Encoder, bytes]" = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def weights(self) -> Path:
        return self.manifest.weights

    @property
    def source(self) -> str:
        """Where it was downloaded from, else the program that stores it."""
        return self.manifest.source or self.manifest.provider

    def encoded(self, encode: "Encoder") -> bytes:
        """`encode(self)`, made once: models change more rarely than they are listed."""
        if encode not in self._encoded:
            self._encoded[encode] = encode(self)
        return self._encoded[encode]


Encoder = Callable[[ModelSummary], bytes]


@dataclass(frozen=True)
class ModelList:
    """The usable models, newest first, and the others with their errors."""

    usable: list[ModelSummary]
    faults: list[tuple[Manifest, OprelError]]

    def only(self, allows: Callable[[str], bool]) -> "ModelList":
        """The models with names that `allows`."""
        faults = [(manifest, error) for manifest, error in self.faults if allows(manifest.name)]
        return ModelList([model for model in self.usable if allows(model.name)], faults)


class Summaries:
    """`read` reads the header of a model. Raises OprelError."""

    def __init__(self, read: Callable[[Manifest], InstalledModel]) -> None:
        self._read = read
        self._summaries: FileCache[ModelSummary] = FileCache()

    def of(self, manifests: Iterable[Manifest]) -> ModelList:
        """The list of these models. Blocks to look at their files, and to read those that have changed."""
        usable, faults = [], []
        for manifest in manifests:
            try:
                usable.append(self._summary(manifest))
            except OprelError as error:
                faults.append((manifest, error))
        self._summaries.keep_only({summary.manifest.key for summary in usable})
        return ModelList(sorted(usable, key=lambda summary: summary.changed.timestamp(), reverse=True), faults)

    def _summary(self, manifest: Manifest) -> ModelSummary:
        cached = self._summaries.get(manifest.key)
        if cached and cached.manifest is manifest:
            return cached
        states = states_of(places_of(manifest))
        return self._summaries.put(manifest.key, _summary(self._read(manifest)), states)


def _summary(model: InstalledModel) -> ModelSummary:
    return ModelSummary(
        manifest=model.manifest,
        header_summary=model.header_summary,
        changed=model.changed,
        size_bytes=model.size_bytes,
        digest=model.digest,
        capabilities=tuple(model.capabilities),
        notes=tuple(model.notes),
    )


def model_files(weights: Path) -> tuple[Path, ...]:
    """All files of a folder, since a change of any of them may change the model; else the file."""
    if not weights.is_dir():
        return (weights,)
    return tuple(sorted(file for file in (*weights.iterdir(), *weights.glob("*/config.json")) if file.is_file()))


def places_of(manifest: Manifest) -> tuple[Path, ...]:
    """What changes when a model does: its files, and for a folder its lists of files."""
    weights = manifest.weights
    try:
        lists = (weights, *(folder for folder in weights.iterdir() if folder.is_dir())) if weights.is_dir() else ()
        files = manifest.parts or model_files(weights)
    except OSError:  # removed meanwhile
        return manifest.places
    return tuple(dict.fromkeys((*manifest.files, *lists, *files)))
