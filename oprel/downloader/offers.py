"""A source's offer of a model: the files to fetch, and the manifest of the model that they make. Pure."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.core.exceptions import ModelNotFoundError, UnsupportedError
from oprel.core.models.manifests import Manifest
from oprel.core.names import HubOrigin
from oprel.core.variants import IMPORTANCE_MATRIX, UNKNOWN, Variant, all_named, named
from oprel.downloader.cache import content_of
from oprel.downloader.source import RemoteFile, checked_name
from oprel.formats.gguf import GGUFFile
from oprel.formats.headers.roles import Role, role_of

_DIGEST = re.compile(r"[0-9a-f]{64}$")
USUAL = ("Q4_K_M", "Q8_0")  # llama.cpp's default choice
MOST_HEADERS = 8  # that are looked at for one that is a model


class NoSuchVariant(ModelNotFoundError):
    """The source has the model, but not in that quantization or size, or not that file."""


@dataclass(frozen=True)
class Repository:
    """The variants to choose from. `read` fetches the header of a variant; it blocks and raises OprelError.

    `others` are files whose names are those of projectors, matrices and drafts. `role` tells what a file is by its
    header, and believes the name where it cannot be read; it blocks. `projector_bytes` is the size of the projector
    that comes with a variant, 0 without one.
    """

    title: str
    variants: tuple[Variant, ...]
    read: Callable[[Variant], GGUFFile]
    projector_bytes: int = 0
    others: tuple[Variant, ...] = ()
    role: Callable[[Variant], Role] = lambda variant: Role.MODEL

    def models(self, variants: Sequence[Variant]) -> list[Variant]:
        """Those of these variants that are models by their headers. Blocks."""
        return [variant for variant in variants[:MOST_HEADERS] if self.role(variant) is Role.MODEL]

    def read_smallest(self) -> GGUFFile:
        """The header of one model, preferably a single file, then the smallest. Raises the same as `read`."""
        ordered = sorted(self.variants, key=lambda variant: (len(variant.files), variant.size_bytes))
        for variant in ordered[:MOST_HEADERS]:
            if role_of(header := self.read(variant)) is Role.MODEL:
                break
        return header


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


def tag_of(variant: Variant, repository: Repository) -> str:
    """The tag that identifies a variant: its label, else its first file. Blocks to read headers."""
    alike = [other for other in all_named(repository.variants, variant.label) if other.stem != variant.stem]
    is_unique = variant.label != UNKNOWN and variant in repository.variants and not repository.models(alike)
    return variant.label if is_unique else variant.files[0].path


def usual(repository: Repository) -> Variant:
    """The default variant, chosen without knowledge of the machine. `repository` must have one."""
    variants = repository.variants
    matching = (all_named(variants, label) for label in USUAL)
    return next((alike[0] for alike in matching if alike), variants[0])


def wanted(repository: Repository, origin: HubOrigin, choose: Choose) -> Variant:
    """The variant with that file or quantization, else the one chosen. Blocks to read headers.

    Raises NoSuchVariant, which lists the variants, or UnsupportedError for a file of another kind.
    """
    if origin.file:
        return _with_file(repository, origin.file)
    return _with_label(repository, origin.quant) if origin.quant else _chosen(repository, choose)


def _with_file(repository: Repository, file: str) -> Variant:
    variants = [*repository.variants, *repository.others]
    matching = [variant for variant in variants if any(file == each.path for each in variant.files)]
    matching = matching or [variant for variant in variants if variant.has_file(file)]
    if len(matching) != 1:
        raise _no_such(repository, f"{'several files' if matching else 'no model'} {file}")
    return _require_model(repository, matching[0])


def _with_label(repository: Repository, label: str) -> Variant:
    # A model that was quantized with a matrix may have its name; projectors and drafts are not meant by a label.
    doubtful = [variant for variant in repository.others if IMPORTANCE_MATRIX.search(variant.files[0].path)]
    matching = all_named(repository.variants, label) or all_named(doubtful, label)
    models = repository.models(matching)
    if len({variant.stem for variant in models}) == 1:
        return models[0]
    if matching and not models:
        kind = repository.role(matching[0]).value
        raise _no_such(repository, f"no model {label}: {matching[0].files[0].path} is {kind}")
    raise _no_such(repository, f"{'several' if models else 'no'} {label}")


def _chosen(repository: Repository, choose: Choose) -> Variant:
    left = repository if repository.variants else replace(repository, variants=repository.others)
    for _ in range(MOST_HEADERS):
        variant = choose(left) if len(left.variants) > 1 else left.variants[0]
        rest = tuple(other for other in left.variants if other is not variant)
        if not rest or repository.role(variant) is Role.MODEL:
            break
        left = replace(left, variants=rest)
    return _require_model(repository, variant)


def _require_model(repository: Repository, variant: Variant) -> Variant:
    if (role := repository.role(variant)) is Role.MODEL:
        return variant
    raise UnsupportedError(
        f"{variant.files[0].path} of {repository.title} is {role.value}: it cannot be run by itself",
        "Name the model that it belongs to; a projector comes along with its model.",
    )


def _no_such(repository: Repository, what: str) -> NoSuchVariant:
    title, variants = repository.title, repository.variants
    tags = (
        variant.label
        if named(variants, variant.label) == variant and variant.label != UNKNOWN
        else variant.files[0].path
        for variant in variants
    )
    return NoSuchVariant(f"{title} has {what}", f"It has {', '.join(tags)}. Name one as hf.co/{title}:NAME.")
