"""`recommend`: which form of a model suits a machine, and how it would be run. Needs no daemon, and starts no engine.

A model is a GGUF file, a folder of them (each quantization of one model), a name that is known here, or a repository of
Hugging Face, of which only a header is fetched.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from oprel.core.config import Config, load_config
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, NoEngineError, ValidationError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import HubOrigin, Kind, ModelRef
from oprel.core.variants import UNKNOWN, RepoFile, Variant, named, quantization_of, variants
from oprel.daemon_models import PlanResponse
from oprel.downloader.aliases import Aliases
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.offers import usual, wanted
from oprel.formats.gguf import read_gguf
from oprel.formats.whole import read_whole
from oprel.runtime.backends import llama_cpp
from oprel.runtime.backends.base import LoadOptions, Mode, Parts
from oprel.runtime.backends.specs import Fixed, spec_of
from oprel.runtime.binaries.shelf import Shelf, find_binaries
from oprel.telemetry import bandwidth
from oprel.telemetry.budgets import budgets_of
from oprel.telemetry.hardware import Hardware, probe
from oprel.telemetry.memory import anatomy_of, projector_bytes
from oprel.telemetry.plan_wire import plan_response
from oprel.telemetry.recommender import Candidate, plan, sized
from oprel.telemetry.settings import Asked

Result = TypeVar("Result")


def recommend(
    model: str | Path,
    asked: Asked | None = None,
    *,
    quantization: str = "",
    hardware: Hardware | None = None,
    config: Config | None = None,
) -> PlanResponse:
    """How `model` would be run here, or on a machine like `hardware`; what is `asked` is kept.

    >>> found = recommend("guide")
    >>> found.fits, found.quantization, found.context
    (True, 'Q8_0', 1024)

    Reads headers only. Raises ModelNotFoundError, InvalidModelError, ValidationError (no such quantization).
    """
    config = config or load_config()
    forms = _forms(str(model), config)
    if quantization:
        forms = [_named(forms, quantization)]
    asked = asked or Asked()
    asked = replace(asked, embedding=asked.embedding or forms[0].embeds)
    engine = _engine(config) if hardware is None else ELSEWHERE
    here = hardware or bandwidth.known(config.home_dir, probe())
    budgets, notes = budgets_of(here), list(here.notes)
    if budgets.gpus and not engine.knows_gpus:
        budgets = budgets.without_gpus()
        notes.append(
            f"the engine that is used here, the {engine}, uses no GPU: install a llama-server that is built for it"
        )
    found = plan([form.candidate for form in forms], budgets, asked)
    chosen = next(form for form in forms if form.candidate is found.chosen.candidate)
    spec = spec_of(found, _fixed(found.asked, chosen.parts, here, config))
    return plan_response(str(model), found, [*engine.command, *llama_cpp.arguments(spec, engine.flags)], notes)


@dataclass(frozen=True)
class Engine:
    """What would be started, and the flags it knows."""

    name: str
    command: tuple[str, ...]
    flags: frozenset[str]
    knows_gpus: bool = True

    def __str__(self) -> str:
        return self.name


# Of another machine it is not known what is installed there.
ELSEWHERE = Engine("llama-server", ("llama-server",), frozenset(llama_cpp.DISPENSABLE))


def _engine(config: Config) -> Engine:
    shelf = Shelf(find_binaries(config))
    try:
        binary, flags = _awaited(shelf.choose())
    except NoEngineError:
        return ELSEWHERE
    return Engine(str(binary), binary.command, flags, binary.knows_gpus)


@dataclass(frozen=True)
class Form:
    """A variant with its files."""

    candidate: Candidate
    parts: Parts
    embeds: bool


def _forms(name: str, config: Config) -> list[Form]:
    ref = ModelRef.parse(name)
    if ref.kind is Kind.PATH and ref.path.is_dir():
        return list(_in_folder(ref.path))
    try:
        return [_form(Manifests(config.models_dir).get(ref))]
    except ModelNotFoundError:
        if Path(name).is_dir():
            return list(_in_folder(Path(name)))
        origin = next(iter(Aliases.load(config.home_dir).origins(ref)), None)
        if not isinstance(origin, HubOrigin):
            raise
    return _in_repository(origin, config)


def _in_repository(origin: HubOrigin, config: Config) -> list[Form]:
    if config.offline == "on":
        raise DownloadError("oprel is offline, so nothing is looked up", "Set `offline` to off.")
    found = _awaited(Hub(config.hf_endpoint, HubCache(config.hub_dir)).repository(origin))
    header, kept = found.read_one(), found.variants
    if origin.quant:
        kept = (wanted(found, origin.quant, usual),)
    files = [Path(variant.files[0].path) for variant in kept]
    embeds = header.pooling_type is not None
    return [Form(candidate, Parts(file), embeds) for candidate, file in zip(sized(header, kept), files, strict=True)]


def _awaited(work: Coroutine[None, None, Result]) -> Result:
    """In a thread of its own: the caller may be in an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _in_folder(folder: Path) -> Iterator[Form]:
    files = [RepoFile(str(path.relative_to(folder)), path.stat().st_size) for path in sorted(folder.rglob("*.gguf"))]
    found = variants(files)
    if not found:
        raise InvalidModelError(f"{folder} has no GGUF model in it", "Name a .gguf file, or a folder with some.")
    return (_form(Manifest(variant.label, folder / variant.files[0].path), variant.label) for variant in found)


def _form(manifest: Manifest, label: str = UNKNOWN) -> Form:
    header = read_whole(manifest.weights, manifest.parts)
    if label == UNKNOWN:
        label = quantization_of(manifest.weights.name) or header.quantization
    eye = projector_bytes(read_gguf(manifest.projector)) if manifest.projector else 0
    adapters = sum(path.stat().st_size for path in manifest.adapters)
    return Form(
        Candidate(label, anatomy_of(header), header.parameter_count, eye, adapters),
        Parts(manifest.weights, manifest.projector, manifest.adapters),
        embeds=header.pooling_type is not None,
    )


def _named(forms: list[Form], quantization: str) -> Form:
    labels = [form.candidate.label for form in forms]
    found = named([Variant(label, ()) for label in labels], quantization)
    if found is None:
        raise ValidationError(f"there is no {quantization}", f"There are: {', '.join(labels)}.")
    return forms[labels.index(found.label)]


def _fixed(asked: Asked, parts: Parts, hardware: Hardware, config: Config) -> Fixed:
    return Fixed(
        parts,
        config.run_dir / "engine-1.sock",
        LoadOptions(num_gpu=asked.layers_on_gpu, num_batch=asked.batch),
        hardware.cpu.threads,
        Mode.EMBEDDING if asked.embedding else Mode.COMPLETION,
        flash_attention={None: "auto", True: "on", False: "off"}[asked.flash_attention],
    )
