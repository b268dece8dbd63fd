"""A source's offer of a model: the files to fetch, and the manifest of the model that they make. Pure."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import ModelNotFoundError
from oprel.core.models.manifests import Manifest
from oprel.core.variants import UNKNOWN, Variant, all_named, named
from oprel.downloader.cache import content_of
from oprel.downloader.source import RemoteFile, checked_name
from oprel.formats.gguf import GGUFFile

_DIGEST = re.compile(r"[0-9a-f]{64}$")
USUAL = ("Q4_K_M", "Q8_0")  # llama.cpp's default choice


class NoSuchVariant(ModelNotFoundError):
    """The source has the model, but not in that quantization or size, or not that file."""


@dataclass(frozen=True)
class Repository:
    """The variants to choose from. `read` fetches the header of a variant; it blocks and raises OprelError.

    `projector_bytes` is the size of the projector that comes with a variant, 0 without one.
    """

    title: str
    variants: tuple[Variant, ...]
    read: Callable[[Variant], GGUFFile]
    projector_bytes: int = 0

    def read_smallest(self) -> GGUFFile:
        """The header of one variant, preferably a single file, then the smallest. Raises the same as `read`."""
        return self.read(min(self.variants, key=lambda variant: (len(variant.files), variant.size_bytes)))


Choose = Callable[[Repository], Variant]


@dataclass(frozen=True)
class Target:
    """A file to download and its destination."""

    file: RemoteFile
    destination: Path


@dataclass(frozen=True)
class Offer:
    """A model that can be downloaded. `title` is for display. `name` is the model's canonical name; "" if it keeps the
    requested name. `also` are other names that its source has for it, as for a renamed repository the present one.

    `links` are the files that `manifest` makes beside the targets; huggingface_hub expects their folders from
    the start.

    Once all `targets` exist, `manifest` builds the manifest of the model with the given name, without saving it. It may
    add files beside them, blocks meanwhile, and raises OprelError or OSError.
    """

    title: str
    targets: tuple[Target, ...]
    manifest: Callable[[str], Manifest]
    name: str = ""
    also: tuple[str, ...] = ()
    links: tuple[Path, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(target.file.size_bytes for target in self.targets)


def is_version_of(offer: Offer, model: Manifest) -> bool:
    """Whether the model's files are those that are offered: by digest where both have one, else by size. Blocks.

    The names of the files in Hugging Face's cache and in Ollama's store are digests.
    """
    digests = {target.file.sha256 for target in offer.targets}
    sizes = {target.file.size_bytes for target in offer.targets}
    try:
        return all(
            match[0] in digests if (match := _DIGEST.search(content_of(path).name)) else path.stat().st_size in sizes
            for path in model.files
        )
    except OSError:  # removed meanwhile
        return False


def together(title: str, files: Sequence[RemoteFile], root: Path) -> Offer:
    """The offer of a model made of `files`: a single file, the parts of a GGUF in order, or all files of a folder.

    Each version of the files gets its own folder in `root`. Raises ValidationError for a name that would leave it.
    """
    versions = (f"{file.name} {file.sha256 or file.etag} {file.size_bytes}" for file in files)
    folder = root / hashlib.sha256("\n".join((title, *versions)).encode()).hexdigest()[:32]
    targets = tuple(Target(file, folder / checked_name(file.name)) for file in files)
    paths = tuple(target.destination for target in targets)
    is_folder = len(paths) > 1 and any(path.suffix.lower() != ".gguf" for path in paths)
    weights, parts = folder if is_folder else paths[0], paths if len(paths) > 1 else ()
    return Offer(title, targets, lambda name: Manifest(name=name, weights=weights, parts=parts, source=title))


def tag_of(variant: Variant, variants: Sequence[Variant]) -> str:
    """The tag that identifies a variant among `variants`: its label, else its first file."""
    is_unique = variant.label != UNKNOWN and named(variants, variant.label) == variant
    return variant.label if is_unique else variant.files[0].path


def usual(repository: Repository) -> Variant:
    """The default variant, chosen without knowledge of the machine. `repository` must have one."""
    variants = repository.variants
    by_label = {variant.quantization: variant for variant in reversed(variants)}
    return next((by_label[label] for label in USUAL if label in by_label), variants[0])


def wanted(repository: Repository, quantization: str, choose: Choose) -> Variant:
    """The variant with that quantization, else the one chosen. Raises NoSuchVariant, which lists the variants."""
    if not quantization:
        return choose(repository) if len(repository.variants) > 1 else repository.variants[0]
    if variant := named(repository.variants, quantization):
        return variant
    title, tags = repository.title, ", ".join(tag_of(variant, repository.variants) for variant in repository.variants)
    fault = (
        f"{title} has several {quantization}"
        if all_named(repository.variants, quantization)
        else f"{title} has no {quantization}"
    )
    raise NoSuchVariant(fault, f"It has {tags}. Name one as hf.co/{title}:NAME.")
