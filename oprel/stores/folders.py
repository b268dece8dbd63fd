"""Folders of GGUF files: Hugging Face's cache, LM Studio's models, llama.cpp's cache."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import ValidationError
from oprel.core.manifests import Manifest, Provider
from oprel.core.names import ModelRef, NameKind
from oprel.core.variants import UNKNOWN, RepoFile, Variant, projector_of, variants
from oprel.stores.found import StoredModel, is_inside, version_of

REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubStore:
    """`models--ORG--REPO/snapshots/REVISION/...`, where the files are links into `blobs` beside it."""

    folder: Path

    def models(self) -> Iterator[StoredModel]:
        for repository in sorted(self.folder.glob("models--*--*")):
            _, organization, name = repository.name.split("--", 2)
            if snapshot := _snapshot(repository):
                files = _files(snapshot.rglob("*.gguf"), repository)
                yield from _models(files, snapshot, f"hf.co/{organization}/{name}", "huggingface")


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
    """`ORG_REPO_FILE`, where a `manifest=ORG=REPO=TAG.json` tells the three apart; other files go by their own name."""

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
        """What names of files begin with, the longest first, and the repository that those are from."""
        found = {}
        for file in self.folder.glob("manifest=*=*=*.json"):
            _, organization, name, _ = file.name.split("=", 3)
            found[f"{organization}_{name}_"] = f"hf.co/{organization}/{name}"
        return dict(sorted(found.items(), key=lambda pair: -len(pair[0])))


def _snapshot(repository: Path) -> Path | None:
    """The folder of the newest revision that was fetched: what `main` is, else the last that was written."""
    snapshots = [one for one in repository.glob("snapshots/*/") if REVISION.fullmatch(one.name)]
    try:
        main = (repository / "refs" / "main").read_text().strip()
    except OSError:
        main = ""
    by_name = {one.name: one for one in snapshots}
    return by_name.get(main) or max(snapshots, key=lambda one: one.stat().st_mtime, default=None)


def _files(paths: Iterable[Path], root: Path) -> list[Path]:
    return [path for path in sorted(paths) if path.is_file() and is_inside(path, root)]


def _models(files: Iterable[Path], folder: Path, repository: str, provider: Provider) -> Iterator[StoredModel]:
    """The models that the files of a repository make; without one, each goes by the name of its file."""
    listed = [RepoFile(file.relative_to(folder).as_posix(), file.stat().st_size) for file in files]
    found = variants(listed)
    labels = Counter(variant.label for variant in found)
    for variant in found:
        stem = Path(variant.files[0].path).stem
        is_told = variant.label != UNKNOWN and labels[variant.label] == 1
        name = f"{repository}:{variant.label if is_told else stem}" if repository else stem
        try:
            ref = ModelRef.parse(name)
        except ValidationError:  # nobody could ask for it
            continue
        if ref.kind is NameKind.NAME:
            yield _found(ref.text, folder, variant, projector_of(listed, variant) if repository else None, provider)


def _found(name: str, folder: Path, variant: Variant, eyes: RepoFile | None, provider: Provider) -> StoredModel:
    files = tuple(folder / file.path for file in variant.files)
    manifest = Manifest(
        name,
        files[0],
        parts=files if len(files) > 1 else (),
        projector=folder / eyes.path if eyes else None,
        provider=provider,
    )
    return StoredModel(manifest, files[0], version_of(files[0]))
