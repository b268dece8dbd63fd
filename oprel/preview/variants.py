"""The forms that a model can be run in, of a name or a path: each quantization that there is, with its header.

A model is a GGUF file, a folder of them (each quantization of one model), a folder as Hugging Face has them, a name
that is known here, or a repository of Hugging Face, of which only headers are fetched.
"""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, ValidationError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import HubOrigin, ModelRef, NameKind
from oprel.core.variants import UNKNOWN, RepoFile, Variant, named, quantization_of, variants
from oprel.downloader.aliases import Aliases
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.offers import Repository, usual, wanted
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.formats.headers.other_header import is_other, read_other
from oprel.formats.headers.whole import read_whole
from oprel.formats.model_info import ModelInfo
from oprel.formats.untrusted_json import shown
from oprel.runtime.backends.base import ModelFiles
from oprel.telemetry.memory.estimator import footprint_of, projector_bytes
from oprel.telemetry.recommender.planning import Candidate, sized

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelVariant:
    """A variant with its files; of one that is no GGUF, such as a folder of safetensors, `info`."""

    candidate: Candidate
    parts: ModelFiles
    embeds: bool
    info: ModelInfo | None = None


def variants_of(name: str, config: Config) -> list[ModelVariant]:
    """At least one. Raises ModelNotFoundError, InvalidModelError, DownloadError."""
    ref = ModelRef.parse(name)
    if ref.kind is NameKind.PATH and ref.path.is_dir():
        return _in_folder(ref.path)
    try:
        return [_of_manifest(known(name, config))]
    except ModelNotFoundError:
        if Path(name).is_dir():
            return _in_folder(Path(name).absolute())
        origin = repository_meant(ref, config)
        if origin is None:
            raise
    return _in_repository(origin, config)


def variant_named(forms: Sequence[ModelVariant], quantization: str) -> ModelVariant:
    """Raises ValidationError where there is none."""
    labels = [form.candidate.label for form in forms]
    found = named([Variant(label, ()) for label in labels], quantization)
    if found is None:
        raise ValidationError(f"there is no {quantization}", f"There are: {', '.join(labels)}.")
    return forms[labels.index(found.label)]


def known(name: str, config: Config) -> Manifest:
    """What a name or a path of this machine stands for. Raises ModelNotFoundError, also where a path leads nowhere."""
    ref = ModelRef.parse(name)
    if ref.kind is NameKind.PATH and not (ref.path.exists() or ref.path.is_symlink()):
        raise ModelNotFoundError(f"there is no file {name}", "Check the path; `oprel list` shows the named models.")
    return Manifests(config.models_dir).get(ref)


def repository_meant(ref: ModelRef, config: Config) -> HubOrigin | None:
    """The repository that a name means; None for one that means none."""
    origin = next(iter(Aliases.load(config.home_dir).origins(ref)), None)
    return origin if isinstance(origin, HubOrigin) else None


def hub_of(config: Config) -> Hub:
    """Raises DownloadError where the user wants to stay offline."""
    if config.offline == "on":
        raise DownloadError("oprel is offline, so nothing is looked up", "Set `offline` to off.")
    return Hub(config.hf_endpoint, HubCache(config.hub_dir))


def awaited(work: Coroutine[None, None, Result]) -> Result:
    """In a thread of its own: the caller may be in an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _in_repository(origin: HubOrigin, config: Config) -> list[ModelVariant]:
    hub = hub_of(config)
    if found := awaited(hub.repository(origin)):
        return _in_variants(found, origin)
    with tempfile.TemporaryDirectory() as folder:
        form = _of_other(awaited(hub.skeleton(origin, Path(folder))))
    return [replace(form, parts=ModelFiles(Path(origin.repository)))]


def _in_variants(found: Repository, origin: HubOrigin) -> list[ModelVariant]:
    header, kept = found.read_smallest(), found.variants
    if origin.quant:
        kept = (wanted(found, origin.quant, usual),)
    files = [Path(variant.files[0].path) for variant in kept]
    embeds = header.pooling_type is not None
    return [
        ModelVariant(candidate, ModelFiles(file), embeds)
        for candidate, file in zip(sized(header, kept), files, strict=True)
    ]


def _in_folder(folder: Path) -> list[ModelVariant]:
    files = [RepoFile(str(path.relative_to(folder)), path.stat().st_size) for path in sorted(folder.rglob("*.gguf"))]
    found = variants(files)
    if not found:
        return [_of_other(folder)]
    weights = [folder / variant.files[0].path for variant in found]
    headers = [read_whole(path) for path in weights]
    _require_one_model(folder, headers)
    return [
        _of_header(Manifest(name=variant.label, weights=path), header, variant.label)
        for variant, path, header in zip(found, weights, headers, strict=True)
    ]


def _require_one_model(folder: Path, headers: Iterable[GGUFFile]) -> None:
    """Raises InvalidModelError that tells the files of each model, where there are several."""
    models = dict[tuple[object, ...], list[GGUFFile]]()
    for header in headers:
        in_all_variants = (_name(header), header.architecture, header.block_count, header.embedding_length)
        models.setdefault(in_all_variants, []).append(header)
    if len(models) > 1:
        told = (f"{_name(one[0])} in {', '.join(header.path.name for header in one)}" for one in models.values())
        raise InvalidModelError(f"{folder} has different models in it: {'; '.join(told)}", "Give the path of one.")


def _name(header: GGUFFile) -> str:
    return shown(str(header.metadata.get("general.name", header.architecture)))


def _of_manifest(manifest: Manifest) -> ModelVariant:
    if is_other(manifest.weights):
        return _of_other(manifest.weights)
    return _of_header(manifest, read_whole(manifest.weights, manifest.parts))


def _of_header(manifest: Manifest, header: GGUFFile, label: str = UNKNOWN) -> ModelVariant:
    if label == UNKNOWN:
        label = quantization_of(manifest.weights.name) or header.quantization
    eye = projector_bytes(read_gguf(manifest.projector)) if manifest.projector else 0
    adapters = sum(path.stat().st_size for path in manifest.adapters)
    files = header.size_bytes + sum(path.stat().st_size for path in manifest.beside)
    return ModelVariant(
        Candidate(label, footprint_of(header), header.parameter_count, eye, adapters, file_bytes=files),
        ModelFiles(manifest.weights, manifest.projector, manifest.adapters),
        embeds=header.pooling_type is not None,
    )


def _of_other(path: Path) -> ModelVariant:
    header = read_other(path)
    candidate = Candidate(
        header.info.quantization,
        footprint_of(header),
        header.parameter_count,
        file_bytes=header.size_bytes,
        is_whole=True,
    )
    return ModelVariant(candidate, ModelFiles(path), header.pooling_type is not None, header.info)
