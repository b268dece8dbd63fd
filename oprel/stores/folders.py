"""Folders of GGUF files: Hugging Face's cache, LM Studio's models, llama.cpp's cache."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.core.models.manifests import Manifest, Provider
from oprel.core.names import ModelRef, NameKind
from oprel.core.variants import UNKNOWN, RepoFile, Variant, projector_of, variants
from oprel.stores.base import StoredModel, is_inside, version_of
from oprel.utils.file_cache import FileCache, states_of

REVISION = re.compile(r"[0-9a-f]{40}")


class _Folders:
    """Models by the folder that they are in, read again when it or a file in it has changed."""

    def __init__(self) -> None:
        self._models: FileCache[tuple[StoredModel, ...]] = FileCache()

    def keep_only(self, folders: Collection[Path]) -> None:
        self._models.keep_only(folders)

    def of(
        self, folder: Path, places: Callable[[Path], Iterable[Path]], read: Callable[[Path], Iterable[StoredModel]]
    ) -> tuple[StoredModel, ...]:
        """`read(folder)`, until one of the `places` in it changes."""
        models = self._models.get(folder)
        if models is None:
            states = states_of(places(folder))
            models = self._models.put(folder, tuple(read(folder)), states)
        return models


@dataclass(frozen=True)
class HubStore:
    """`models--ORG--REPO/snapshots/REVISION/...`, where files are links into the `blobs` folder. Some have no owner.

    A model may be in an older revision only: its programs download single files. The blobs may be links into a folder
    `blobs` that all repositories share.
    """

    folder: Path
    _read: _Folders = field(default_factory=_Folders, compare=False, repr=False)

    def models(self) -> Iterator[StoredModel]:
        repositories = sorted(self.folder.glob("models--*"))
        self._read.keep_only(set(repositories))
        for repository in repositories:
            yield from self._read.of(repository, _places_of_repository, self._models_of)

    def _models_of(self, repository: Path) -> Iterator[StoredModel]:
        title = f"hf.co/{repository.name.removeprefix('models--').replace('--', '/', 1)}"
        snapshots = [
            _named(_files(snapshot.rglob("*.gguf"), repository, self.folder / "blobs"), snapshot)
            for snapshot in _snapshots(repository)
        ]
        newest = {name: path for files in reversed(snapshots) for name, path in files.items()}
        names = set[str]()
        for files in snapshots:
            for model in _models(files, title, "huggingface", beside=newest):
                if model.manifest.key not in names:
                    names.add(model.manifest.key)
                    yield model


def _places_of_repository(repository: Path) -> Iterator[Path]:
    snapshots = repository / "snapshots"
    yield from (repository / "refs" / "main", snapshots)
    for path in snapshots.rglob("*"):
        if path.suffix == ".gguf" or path.is_dir():
            yield path


@dataclass(frozen=True)
class LmStudioStore:
    """`PUBLISHER/REPO/*.gguf`, perhaps in folders. Its user may have linked files and folders of other drives."""

    folder: Path
    _read: _Folders = field(default_factory=_Folders, compare=False, repr=False)

    def models(self) -> Iterator[StoredModel]:
        repositories = sorted(self.folder.glob("*/*/"))
        self._read.keep_only(set(repositories))
        for repository in repositories:
            yield from self._read.of(repository, _with_subfolders, self._models_of)

    def _models_of(self, repository: Path) -> Iterator[StoredModel]:
        files = [path for path in sorted(repository.rglob("*.gguf")) if path.is_file()]
        yield from _models(_named(files, repository), f"{repository.parent.name}/{repository.name}", "lmstudio")


def _with_files(folder: Path) -> tuple[Path, ...]:
    return (folder, *folder.glob("*.gguf"))


def _with_subfolders(folder: Path) -> tuple[Path, ...]:
    return (folder, *(path for path in folder.rglob("*") if path.suffix == ".gguf" or path.is_dir()))


@dataclass(frozen=True)
class LlamaCppStore:
    """`ORG_REPO_FILE`, split with the help of `manifest=ORG=REPO=TAG.json`; other files are named by their own name."""

    folder: Path
    _read: _Folders = field(default_factory=_Folders, compare=False, repr=False)

    def models(self) -> Iterator[StoredModel]:
        yield from self._read.of(self.folder, _with_files, self._models_of)

    def _models_of(self, folder: Path) -> Iterator[StoredModel]:
        files = _files(folder.glob("*.gguf"), folder)
        for prefix, repository in self._repositories().items():
            own = [file for file in files if file.name.startswith(prefix)]
            files = [file for file in files if file not in own]
            yield from _models(_named(own, folder), repository, "llama.cpp")
        for file in files:
            yield from _models(_named([file], folder), "", "llama.cpp")

    def _repositories(self) -> dict[str, str]:
        """File name prefixes, longest first, and the repository of each."""
        repositories = {}
        for file in self.folder.glob("manifest=*=*=*.json"):
            _, organization, name, _ = file.name.split("=", 3)
            repositories[f"{organization}_{name}_"] = f"hf.co/{organization}/{name}"
        return dict(sorted(repositories.items(), key=lambda pair: -len(pair[0])))


def _snapshots(repository: Path) -> list[Path]:
    """The folders of the downloaded revisions: that of `main` first, then the others, latest first."""
    snapshots = [folder for folder in repository.glob("snapshots/*/") if REVISION.fullmatch(folder.name)]
    try:
        main = ref.read_text().strip() if (ref := repository / "refs" / "main").is_file() else ""
    except OSError:
        main = ""
    return sorted(snapshots, key=lambda folder: (folder.name == main, folder.stat().st_mtime), reverse=True)


def _files(paths: Iterable[Path], *roots: Path) -> list[Path]:
    return [path for path in sorted(paths) if path.is_file() and any(is_inside(path, root) for root in roots)]


def _named(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in files}


def _models(
    files: Mapping[str, Path], repository: str, provider: Provider, beside: Mapping[str, Path] | None = None
) -> Iterator[StoredModel]:
    """The models made of a repository's files; without a repository, each is named after its file.

    Their projectors may be among the files `beside`.
    """
    models = variants(_listed(files))
    projectors = _listed(beside or files) if repository else []
    labels = Counter(variant.label for variant in models)
    for variant in models:
        stem = Path(variant.files[0].path).stem
        is_unique = variant.label != UNKNOWN and labels[variant.label] == 1
        name = f"{repository}:{variant.label if is_unique else stem}" if repository else stem
        try:
            ref = ModelRef.parse(name)
        except ValidationError:  # a model without a valid name cannot be used
            continue
        if ref.kind is NameKind.NAME:
            projector = projector_of(projectors, variant)
            yield _stored_model(
                ref.name, files, variant, (beside or files)[projector.path] if projector else None, provider
            )


def _listed(files: Mapping[str, Path]) -> list[RepoFile]:
    return [RepoFile(name, file.stat().st_size) for name, file in files.items()]


def _stored_model(
    name: str, files: Mapping[str, Path], variant: Variant, projector: Path | None, provider: Provider
) -> StoredModel:
    weights = tuple(files[file.path] for file in variant.files)
    manifest = Manifest(
        name=name,
        weights=weights[0],
        parts=weights if len(weights) > 1 else (),
        projector=projector,
        provider=provider,
    )
    return StoredModel(manifest, weights[0], version_of(weights[0]))
