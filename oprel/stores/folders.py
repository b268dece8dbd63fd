"""Folders of GGUF files: Hugging Face's cache, LM Studio's models, llama.cpp's cache."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.core.models.manifests import Manifest, Provider
from oprel.core.names import ModelRef, NameKind
from oprel.core.variants import UNKNOWN, RepoFile, Variant, projector_of, variants
from oprel.stores.base import StoredModel, is_inside, version_of

REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubStore:
    """`models--ORG--REPO/snapshots/REVISION/...`, where files are links into the `blobs` folder. Some have no owner."""

    folder: Path

    def models(self) -> Iterator[StoredModel]:
        for repository in sorted(self.folder.glob("models--*")):
            name = repository.name.removeprefix("models--").replace("--", "/", 1)
            if snapshot := _snapshot(repository):
                files = _files(snapshot.rglob("*.gguf"), repository)
                yield from _models(files, snapshot, f"hf.co/{name}", "huggingface")


@dataclass(frozen=True)
class LmStudioStore:
    """`PUBLISHER/REPO/*.gguf`."""

    folder: Path

    def models(self) -> Iterator[StoredModel]:
        for repository in sorted(self.folder.glob("*/*/")):
            files = _files(repository.glob("*.gguf"), self.folder)
            yield from _models(files, repository, f"{repository.parent.name}/{repository.name}", "lmstudio")


@dataclass(frozen=True)
class LlamaCppStore:
    """`ORG_REPO_FILE`, split with the help of `manifest=ORG=REPO=TAG.json`; other files are named by their own name."""

    folder: Path

    def models(self) -> Iterator[StoredModel]:
        files = _files(self.folder.glob("*.gguf"), self.folder)
        for prefix, repository in self._repositories().items():
            own = [file for file in files if file.name.startswith(prefix)]
            files = [file for file in files if file not in own]
            yield from _models(own, self.folder, repository, "llama.cpp")
        for file in files:
            yield from _models([file], self.folder, "", "llama.cpp")

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
        main = (repository / "refs" / "main").read_text().strip()
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
