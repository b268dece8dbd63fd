"""Folders of GGUF files: Hugging Face's cache, LM Studio's models, llama.cpp's cache."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
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
    """`models--ORG--REPO/snapshots/REVISION/...`, where files are links into the `blobs` folder. Some have no owner."""

    folder: Path
    _read: _Folders = field(default_factory=_Folders, compare=False, repr=False)

    def models(self) -> Iterator[StoredModel]:
        repositories = sorted(self.folder.glob("models--*"))
        self._read.keep_only(set(repositories))
        for repository in repositories:
            yield from self._read.of(repository, _places_of_repository, _models_of_repository)


def _places_of_repository(repository: Path) -> Iterator[Path]:
    snapshots = repository / "snapshots"
    yield from (repository / "refs" / "main", snapshots)
    for path in snapshots.rglob("*"):
        if path.suffix == ".gguf" or path.is_dir():
            yield path


def _models_of_repository(repository: Path) -> Iterator[StoredModel]:
    name = repository.name.removeprefix("models--").replace("--", "/", 1)
    if snapshot := _snapshot(repository):
        files = _files(snapshot.rglob("*.gguf"), repository)
        yield from _models(files, snapshot, f"hf.co/{name}", "huggingface")


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
        yield from _models(files, repository, f"{repository.parent.name}/{repository.name}", "lmstudio")


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
            yield from _models(own, folder, repository, "llama.cpp")
        for file in files:
            yield from _models([file], folder, "", "llama.cpp")

    def _repositories(self) -> dict[str, str]:
        """File name prefixes, longest first, and the repository of each."""
        repositories = {}
        for file in self.folder.glob("manifest=*=*=*.json"):
            _, organization, name, _ = file.name.split("=", 3)
            repositories[f"{organization}_{name}_"] = f"hf.co/{organization}/{name}"
        return dict(sorted(repositories.items(), key=lambda pair: -len(pair[0])))


def _snapshot(repository: Path) -> Path | None:
    """The folder of the latest downloaded revision: that of `main`, else the most recently written."""
    snapshots = [folder for folder in repository.glob("snapshots/*/") if REVISION.fullmatch(folder.name)]
    try:
        main = ref.read_text().strip() if (ref := repository / "refs" / "main").is_file() else ""
    except OSError:
        main = ""
    by_name = {folder.name: folder for folder in snapshots}
    return by_name.get(main) or max(snapshots, key=lambda folder: folder.stat().st_mtime, default=None)


def _files(paths: Iterable[Path], root: Path) -> list[Path]:
    return [path for path in sorted(paths) if path.is_file() and is_inside(path, root)]


def _models(files: Iterable[Path], folder: Path, repository: str, provider: Provider) -> Iterator[StoredModel]:
    """The models made of a repository's files; without a repository, each is named after its file."""
    listed = [RepoFile(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]
    models = variants(listed)
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
            yield _stored_model(
                ref.name, folder, variant, projector_of(listed, variant) if repository else None, provider
            )


def _stored_model(
    name: str, folder: Path, variant: Variant, projector: RepoFile | None, provider: Provider
) -> StoredModel:
    files = tuple(folder / file.path for file in variant.files)
    manifest = Manifest(
        name=name,
        weights=files[0],
        parts=files if len(files) > 1 else (),
        projector=folder / projector.path if projector else None,
        provider=provider,
    )
    return StoredModel(manifest, files[0], version_of(files[0]))
