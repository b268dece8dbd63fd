"""`recommend`: which form of a model suits a machine, and how it would be run. Asks no daemon, starts no engine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.config import Config, load_config
from oprel.core.exceptions import NoEngineError
from oprel.core.names import ModelRef
from oprel.formats.model_info import ModelInfo
from oprel.preview.variants import ModelVariant, awaited, variant_named, variants_of
from oprel.runtime.backends.backend import Backend
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.backends.specs import LoadConstraints, asked_of, spec_of
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.binaries.engine_binaries import EngineBinaries, find_binaries
from oprel.runtime.selection.engines import programs_of, routes
from oprel.runtime.spec import ModelFiles
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import Hardware, probe
from oprel.telemetry.memory.estimator import MIB
from oprel.telemetry.recommender.budgets import Budgets, Reservation, budgets_of
from oprel.telemetry.recommender.plan_wire import plan_response
from oprel.telemetry.recommender.planning import Plan, plan_among
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.utils.text import human_size
from oprel.wire.daemon import ModelsResponse, PlanResponse

NO_BANDWIDTH = "how fast it would be is not known here: `oprel bench memory` measures the memory once"


def recommend(
    model: str | Path,
    asked: PlanConstraints | None = None,
    *,
    quantization: str = "",
    hardware: Hardware | None = None,
    config: Config | None = None,
    daemon: ModelsResponse | None = None,
) -> PlanResponse:
    """How `model` would be run here, or on a machine like `hardware`; what is `asked` is kept.

    >>> found = recommend("guide")
    >>> found.fits, found.quantization, found.context
    (True, 'Q8_0', 1024)

    It is what a daemon would do; one that runs tells in `daemon` (`Client.engines`) what it has loaded.
    Reads headers only. Raises ModelNotFoundError, InvalidModelError, ValidationError (no such quantization).
    """
    config = config or load_config()
    forms = variants_of(str(model), config)
    if quantization:
        forms = [variant_named(forms, quantization)]
    asked = asked or PlanConstraints()
    load, configured = _configured(str(model), forms[0], config)
    asked = replace(asked, embedding=asked.embedding or forms[0].embeds).completed(configured)
    here = hardware or bandwidth.known(config.home_dir, probe())
    engine = _engine(forms[0].info, here, config, is_here=hardware is None)
    room = _room(here, config, forms, daemon) if hardware is None else MachineShare(budgets_of(here))
    budgets = room.budgets if engine.knows_gpus else room.budgets.without_gpus()
    budgets = budgets.beside([Reservation(engine.backend.overhead_bytes)])
    found = plan_among(room.taken, [form.candidate for form in forms], budgets, asked)
    chosen = next(form for form in forms if form.candidate is found.chosen.candidate)
    spec = spec_of(found, _fixed(asked, load, chosen.parts, here, config))
    notes = [*here.notes, *engine.notes, *_notes(found, room, here, is_here=hardware is None)]
    arguments = engine.backend.arguments(spec, engine.flags) if engine.command else []
    return plan_response(str(model), found, [*engine.command, *arguments], notes)


def _configured(name: str, form: ModelVariant, config: Config) -> tuple[LoadOptions, PlanConstraints]:
    """What the settings of the model fix."""
    settings = config.for_model(ModelRef.parse(name).text)
    load = llama_cpp.resolve(LoadOptions(), settings, form.candidate.anatomy.dims.trained_context or None)
    return load, asked_of(load, settings, Mode.EMBEDDING if form.embeds else Mode.COMPLETION)


@dataclass(frozen=True)
class MachineShare:
    """What engines may take together, and who has how much of it."""

    budgets: Budgets
    taken: tuple[Reservation, ...] = ()


def _room(here: Hardware, config: Config, forms: Sequence[ModelVariant], daemon: ModelsResponse | None) -> MachineShare:
    """As a daemon that is started now would have it, or as the one has it that runs: the model itself makes room."""
    budgets = budgets_of(here, config.default_max_memory_mb * MIB or None)
    if daemon is None or len(daemon.gpu_bytes) != len(budgets.devices):
        return MachineShare(budgets)
    budgets = replace(budgets, host=daemon.host_bytes, devices=tuple(daemon.gpu_bytes))
    own = {str(form.parts.weights) for form in forms}
    others = (one for one in daemon.models if one.path not in own)
    return MachineShare(budgets, tuple(Reservation(one.host_bytes, one.gpu_bytes, one.pinned) for one in others))


def _notes(found: Plan, room: MachineShare, here: Hardware, *, is_here: bool) -> Iterator[str]:
    """What is to be said of this machine, and of what is asked of it."""
    layers, needs = found.asked.layers_on_gpu, found.solution.host_needs
    if layers and not found.budgets.devices:
        yield f"there is no GPU for {layers} layers: all of them lie on the CPU"
    free = here.memory.available_bytes + sum(one.host for one in room.taken)
    if is_here and found.fits and needs > free:
        yield f"other programs use the memory now: it needs {human_size(needs)}, and {human_size(free)} is free"
    if found.chosen.speed is None and not found.asked.embedding:
        yield NO_BANDWIDTH


@dataclass(frozen=True)
class Engine:
    """What would be started, nothing where none serves the model, and the flags it knows."""

    command: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    knows_gpus: bool = True
    backend: Backend = llama_cpp.BACKEND
    notes: tuple[str, ...] = ()


# Of another machine it is not known what is installed there.
ELSEWHERE = Engine(("llama-server",), frozenset(llama_cpp.DISPENSABLE))


def _engine(info: ModelInfo | None, here: Hardware, config: Config, *, is_here: bool) -> Engine:
    """That of a folder's model is the best one for its form, whether it is installed or not."""
    if info:
        return _routed(info, here, config)
    return _llama_server(here, config) if is_here else ELSEWHERE


def _llama_server(here: Hardware, config: Config) -> Engine:
    shelf = EngineBinaries(find_binaries(config))
    try:
        binary, flags = awaited(shelf.choose())
    except NoEngineError:
        return ELSEWHERE
    lacking = f"the engine that is used here, the {binary}, uses no GPU: install a llama-server that is built for it"
    notes = (lacking,) if here.gpus and not binary.knows_gpus else ()
    return Engine(binary.command, flags, binary.knows_gpus, notes=notes)


def _routed(info: ModelInfo, here: Hardware, config: Config) -> Engine:
    found = routes(info, here, config)
    best = next((one for one in found if one.score), found[0])
    backend = best.backend
    program = next(programs_of(backend, config, read_choices(config.home_dir)), None)
    if not best.score:
        return Engine((), notes=(f"no engine serves it here: {backend.title}, as {'; '.join(best.reasons)}",))
    told = [f"{backend.title} would run it: {'; '.join(best.reasons)}"]
    if not best.installed:
        told.append(f"to get {backend.title}: {backend.install}")
    told.append("weights and KV cache are exact; what it computes with is not known, and taken for llama.cpp's")
    if backend.overhead_bytes:
        told.append(f"what may be taken is without the {human_size(backend.overhead_bytes)} that its processes need")
    command = program.command if program else (backend.executables[0],)
    return Engine(command, knows_gpus=best.accelerator != "cpu", backend=backend, notes=tuple(told))


def _fixed(
    asked: PlanConstraints, load: LoadOptions, parts: ModelFiles, hardware: Hardware, config: Config
) -> LoadConstraints:
    return LoadConstraints(
        parts,
        config.run_dir / "engine-1.sock",
        replace(load, num_gpu=asked.layers_on_gpu, num_batch=asked.batch),
        hardware.cpu.threads,
        Mode.EMBEDDING if asked.embedding else Mode.COMPLETION,
        flash_attention={None: "auto", True: "on", False: "off"}[asked.flash_attention],
    )
