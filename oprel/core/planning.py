"""`recommend`: which form of a model suits a machine, and how it would be run. Needs no daemon, and starts no engine.

A model is a GGUF file, a folder of them (each quantization of one model), or a name that is known here.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.core.config import Config, load_config
from oprel.core.exceptions import InvalidModelError, NoEngineError, ValidationError
from oprel.core.manifests import Manifest, Manifests
from oprel.core.names import Kind, ModelRef
from oprel.core.variants import UNKNOWN, RepoFile, Variant, named, quantization_of, variants
from oprel.daemon_models import PlanResponse
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
from oprel.telemetry.recommender import Candidate, Plan, plan
from oprel.telemetry.settings import Asked


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
    here = bandwidth.known(config.home_dir, probe()) if hardware is None else hardware
    forms = _forms(str(model), config)
    if quantization:
        forms = [_named(forms, quantization)]
    asked = asked or Asked()
    asked = replace(asked, embedding=asked.embedding or forms[0].embeds)
    found = plan([form.candidate for form in forms], budgets_of(here), asked)
    chosen = next(form for form in forms if form.candidate is found.chosen.candidate)
    return plan_response(str(model), found, _command(found, chosen.parts, here, config), here.notes)


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
    return [_form(Manifests(config.models_dir).get(ref))]


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


def _command(found: Plan, parts: Parts, hardware: Hardware, config: Config) -> list[str]:
    """What would start the engine."""
    asked = found.asked
    fixed = Fixed(
        parts,
        config.run_dir / "engine-1.sock",
        LoadOptions(num_gpu=asked.layers_on_gpu, num_batch=asked.batch),
        hardware.cpu.threads,
        Mode.EMBEDDING if asked.embedding else Mode.COMPLETION,
        flash_attention={None: "auto", True: "on", False: "off"}[asked.flash_attention],
    )
    spec = spec_of(found, fixed)
    shelf = Shelf(find_binaries(config))
    try:
        with ThreadPoolExecutor(1) as thread:  # the caller may be in an event loop
            binary, flags = thread.submit(asyncio.run, shelf.choose()).result()
    except NoEngineError:
        return ["llama-server", *llama_cpp.arguments(spec, frozenset(llama_cpp.DISPENSABLE))]
    return [*binary.command, *llama_cpp.arguments(spec, flags)]
