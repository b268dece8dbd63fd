"""Resolve a name or a path to the variants of a model: each available quantization with its header.

A model is a GGUF file, a folder of them (quantizations of one model), a folder in Hugging Face's format, an installed
name, or a repository on Hugging Face, of which only headers are downloaded.
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
from oprel.core.home import ensure_temporary_folder
from oprel.core.models.disks import Disks, away_error
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import HubOrigin, ModelRef, NameKind
from oprel.core.variants import UNKNOWN, RepoFile, Variant, named, quantization_of, variants
from oprel.downloader.aliases import Aliases
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.offers import Repository, usual, wanted
from oprel.formats.gguf import GGUFFile, read_gguf
from oprel.formats.headers.other_header import is_other, read_other
from oprel.formats.headers.whole import read_whole
from oprel.formats.hugging_face.conversion.bert import conversion, converts
from oprel.formats.model_info import ModelInfo
from oprel.formats.untrusted_json import shown
from oprel.runtime.spec import ModelFiles
from oprel.telemetry.memory.estimator import footprint_of, projector_bytes
from oprel.telemetry.recommender.candidates import Candidate, sized
from oprel.telemetry.recommender.speed.arithmetic import arithmetic_of

Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelVariant:
    """A candidate with its files. `info` describes models in other formats than GGUF, such as safetensors."""

    candidate: Candidate
    files: ModelFiles
    embeds: bool
    info: ModelInfo | None = None


def variants_of(name: str, config: Config) -> list[ModelVariant]:
    """The variants of a model, at least one. Raises ModelNotFoundError, InvalidModelError, DownloadError."""
    ref = ModelRef.parse(name)
    if ref.kind is NameKind.PATH and ref.path.is_dir():
        return _in_folder(ref.path)
    try:
        return [_of_manifest(installed_manifest(name, config))]
    except ModelNotFoundError:
        if Path(name).is_dir():
            return _in_folder(Path(name).absolute())
        origin = repository_meant(ref, config)
        if origin is None:
            raise
    return _in_repository(origin, config)


def variant_named(available: Sequence[ModelVariant], quantization: str) -> ModelVariant:
    """The variant with this quantization. Raises ValidationError if there is none."""
    labels = [variant.candidate.label for variant in available]
    match = named([Variant(label, ()) for label in labels], quantization)
    if match is None:
        raise ValidationError(f"the model has no quantization {quantization}", f"Available: {', '.join(labels)}.")
    return available[labels.index(match.label)]


def installed_manifest(name: str, config: Config) -> Manifest:
    """The manifest of an installed model, or of a path.

    Raises ModelNotFoundError, also if the path does not exist, and ModelAwayError.
    """
    ref = ModelRef.parse(name)
    if ref.kind is NameKind.PATH and not (ref.path.exists() or ref.path.is_symlink()):
        raise ModelNotFoundError(f"there is no file {name}", "Check the path; `oprel list` shows the named models.")
    manifest = Manifests.of(config).get(ref)
    if ref.kind is not NameKind.PATH and (folder := Disks.of(config).away(manifest.weights)):
        raise away_error(manifest, folder)
    return manifest


def repository_meant(ref: ModelRef, config: Config) -> HubOrigin | None:
    """The repository on Hugging Face that a name stands for, if any."""
    origin = next(iter(Aliases.load(config.home_dir).origins(ref)), None)
    return origin if isinstance(origin, HubOrigin) else None


def hub_of(config: Config) -> Hub:
    """Raises DownloadError if the configuration says to stay offline."""
    if config.offline == "on":
        raise DownloadError("oprel is offline and looks nothing up", "Set `offline` to off.")
    return Hub(config.hf_endpoint, HubCache(config.hub_dir))


def awaited(work: Coroutine[None, None, Result]) -> Result:
    """The result of a coroutine, run in a thread of its own, because the caller may be in an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _in_repository(origin: HubOrigin, config: Config) -> list[ModelVariant]:
    hub = hub_of(config)
    if repository := awaited(hub.repository(origin)):
        return _in_variants(repository, origin)
    ensure_temporary_folder(config)
    with tempfile.TemporaryDirectory() as folder:
        variant = _of_other(awaited(hub.skeleton(origin, Path(folder))))
    return [replace(variant, files=ModelFiles(Path(origin.repository)))]


def _in_variants(repository: Repository, origin: HubOrigin) -> list[ModelVariant]:
    header, kept = repository.read_smallest(), repository.variants
    if origin.quant:
        kept = (wanted(repository, origin, usual),)
    files = [Path(variant.files[0].path) for variant in kept]
    embeds = header.pooling_type is not None
    return [
        ModelVariant(candidate, ModelFiles(file), embeds)
        for candidate, file in zip(sized(header, kept, repository.projector_bytes), files, strict=True)
    ]


def _in_folder(folder: Path) -> list[ModelVariant]:
    files = [RepoFile(str(path.relative_to(folder)), path.stat().st_size) for path in sorted(folder.rglob("*.gguf"))]
    available = variants(files)
    if not available:
        return [_of_other(folder)]
    weights = [folder / variant.files[0].path for variant in available]
    headers = [read_whole(path) for path in weights]
    _require_one_model(folder, headers)
    return [
        _of_header(Manifest(name=variant.label, weights=path), header, variant.label)
        for variant, path, header in zip(available, weights, headers, strict=True)
    ]


def _require_one_model(folder: Path, headers: Iterable[GGUFFile]) -> None:
    """Raises InvalidModelError with the files of each model if the headers belong to several models."""
    models = dict[tuple[object, ...], list[GGUFFile]]()
    for header in headers:
        in_all_variants = (_name(header), header.architecture, header.block_count, header.embedding_length)
        models.setdefault(in_all_variants, []).append(header)
    if len(models) > 1:
        listed = (f"{_name(same[0])} in {', '.join(header.path.name for header in same)}" for same in models.values())
        raise InvalidModelError(f"{folder} contains different models: {'; '.join(listed)}", "Give the path of one.")


def _name(header: GGUFFile) -> str:
    return shown(str(header.metadata.get("general.name", header.architecture)))


def _of_manifest(manifest: Manifest) -> ModelVariant:
    if is_other(manifest.weights):
        return _of_other(manifest.weights)
    return _of_header(manifest, read_whole(manifest.weights, manifest.parts))


def _of_header(manifest: Manifest, header: GGUFFile, label: str = UNKNOWN) -> ModelVariant:
    if label == UNKNOWN:
        label = quantization_of(manifest.weights.name) or header.quantization
    candidate = Candidate(
        label=label,
        footprint=footprint_of(header),
        parameters=header.parameter_count,
        tensor_arithmetic=arithmetic_of(header),
        projector=projector_bytes(read_gguf(manifest.projector)) if manifest.projector else 0,
        adapters=sum(path.stat().st_size for path in manifest.adapters),
        file_bytes=header.size_bytes + sum(path.stat().st_size for path in manifest.beside),
    )
    files = ModelFiles(manifest.weights, manifest.projector, manifest.adapters)
    return ModelVariant(candidate, files, embeds=header.pooling_type is not None)


def _of_other(path: Path) -> ModelVariant:
    if converts(path):
        return _of_header(Manifest(name="", weights=path), conversion(path).header(path))
    header = read_other(path)
    candidate = Candidate(
        label=header.info.quantization,
        footprint=footprint_of(header),
        parameters=header.parameter_count,
        file_bytes=header.size_bytes,
        is_whole=True,
    )
    return ModelVariant(candidate, ModelFiles(path), header.pooling_type is not None, header.info)
