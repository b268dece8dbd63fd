"""What a source of models answers when asked for one: which files to fetch, and what model they then are. Pure."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import ModelNotFoundError
from oprel.core.manifests import Manifest
from oprel.core.variants import UNKNOWN, Variant, named
from oprel.downloader.source import RemoteFile, checked_name
from oprel.formats.gguf import GGUFFile

USUAL = ("Q4_K_M", "Q8_0")  # what llama.cpp takes where nobody says which


@dataclass(frozen=True)
class Repository:
    """What there is to choose from. `read` fetches the header of a variant: it blocks, and raises OprelError."""

    title: str
    variants: tuple[Variant, ...]
    read: Callable[[Variant], GGUFFile]

    def read_one(self) -> GGUFFile:
        """The header of one of them, whole if one comes in a single file. Raises as `read`."""
        return self.read(min(self.variants, key=lambda one: (len(one.files), one.size_bytes)))


Choose = Callable[[Repository], Variant]


@dataclass(frozen=True)
class Target:
    """A file to be fetched, and where it goes."""

    file: RemoteFile
    destination: Path


@dataclass(frozen=True)
class Offer:
    """A model that can be had. `title` is for people. `name` is the model's own, however it was asked for; "" where it
    is called as it was asked for.

    When all of `targets` are there, `manifest` makes the model of that name of them: it may put further files beside
    them, blocks for as long, and raises OprelError or OSError. It is not written down yet.
    """

    title: str
    targets: tuple[Target, ...]
    manifest: Callable[[str], Manifest]
    name: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(target.file.size_bytes for target in self.targets)


def together(title: str, files: Sequence[RemoteFile], root: Path) -> Offer:
    """The model that `files` are: a single file, the parts of a GGUF in order, or all of a folder.

    They go into `root`, each version of them into a folder of its own. Raises ValidationError for a name that would
    leave it.
    """
    versions = (f"{file.name} {file.sha256 or file.etag} {file.size_bytes}" for file in files)
    folder = root / hashlib.sha256("\n".join((title, *versions)).encode()).hexdigest()[:32]
    targets = tuple(Target(file, folder / checked_name(file.name)) for file in files)
    paths = tuple(target.destination for target in targets)
    is_folder = len(paths) > 1 and any(path.suffix.lower() != ".gguf" for path in paths)
    weights, parts = folder if is_folder else paths[0], paths if len(paths) > 1 else ()
    return Offer(title, targets, lambda name: Manifest(name, weights, parts=parts, source=title))


def tag_of(variant: Variant, found: Sequence[Variant]) -> str:
    """What names this one of a repository's variants: its label, else its first file."""
    is_told = variant.label != UNKNOWN and named(found, variant.label) == variant
    return variant.label if is_told else variant.files[0].path


def usual(repository: Repository) -> Variant:
    """The variant for those who know nothing of the machine. There is at least one."""
    found = repository.variants
    return next((one for label in USUAL if (one := named(found, label))), found[0])


def wanted(repository: Repository, quantization: str, choose: Choose) -> Variant:
    """The variant that a name asks for, or the one that suits. Raises ModelNotFoundError with those there are."""
    if not quantization:
        return choose(repository) if len(repository.variants) > 1 else repository.variants[0]
    if variant := named(repository.variants, quantization):
        return variant
    labels = ", ".join(dict.fromkeys(one.label for one in repository.variants))
    title = repository.title
    raise ModelNotFoundError(f"{title} has no {quantization}", f"It has {labels}: hf.co/{title}:QUANT.")
