"""`recommend`: which variant of a model suits a machine, and how it would run there. Needs no daemon and no engine."""

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
from oprel.runtime.backends.specs import LoadConstraints, plan_constraints, spec_of
from oprel.runtime.binaries.choices import read_choices
from oprel.runtime.binaries.devices import Listed
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries
from oprel.runtime.selection.engines import programs_of, rank_engines, unused_gpu
from oprel.runtime.spec import ModelFiles
from oprel.telemetry.calibration.database import LoadIdentity, model_key, recall
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.listed import seen_by
from oprel.telemetry.hardware.probing import Hardware, this_machine
from oprel.telemetry.memory.estimator import MIB
from oprel.telemetry.memory.process import NATIVE, for_features
from oprel.telemetry.recommender.budgets import Budgets, Reservation, budgets_of
from oprel.telemetry.recommender.plan_wire import plan_response
from oprel.telemetry.recommender.planning import Plan, plan_among
from oprel.telemetry.recommender.settings import PlanConstraints
from oprel.utils.text import human_size
from oprel.wire.daemon import ModelsResponse, PlanResponse


def recommend(
    model: str | Path,
    constraints: PlanConstraints | None = None,
    *,
    quantization: str = "",
    hardware: Hardware | None = None,
    config: Config | None = None,
    daemon: ModelsResponse | None = None,
) -> PlanResponse:
    """Plan how `model` would run on this machine or on `hardware`, within `constraints`, as a daemon would do it.

    >>> plan = recommend("guide")
    >>> plan.fits, plan.quantization, plan.context
    (True, 'Q8_0', 1024)

    `model` is a name, a path or a repository; only headers are read. `quantization` selects one variant. `daemon` is
    what a running daemon has loaded (`Client.engines`), to plan beside it. Raises ModelNotFoundError,
    InvalidModelError, DownloadError, and ValidationError if the model has no such quantization.
    """
    config = config or load_config()
    variants = variants_of(str(model), config)
    if quantization:
        variants = [variant_named(variants, quantization)]
    load, configured = _configured(str(model), variants[0], config)
    constraints = constraints or PlanConstraints()
    constraints = replace(constraints, embedding=constraints.embedding or variants[0].embeds).completed(configured)
    machine = hardware or bandwidth.recall(config.home_dir, this_machine(config.hardware))
    engine = _engine(variants[0].info, machine, config, is_here=hardware is None)
    machine = seen_by(machine, engine.devices or None)
    variants = [_with_experience(variant, engine.binary, machine, config) for variant in variants]
    share = MachineShare(budgets_of(machine)) if hardware else _share(machine, config, variants, daemon)
    budgets = share.budgets if engine.knows_gpus else share.budgets.without_gpus()
    budgets = budgets.beside([Reservation(engine.backend.overhead_bytes)])
    plan = plan_among(share.reservations, [variant.candidate for variant in variants], budgets, constraints)
    chosen = next(variant for variant in variants if variant.candidate is plan.chosen.candidate)
    spec = spec_of(plan, _load_constraints(constraints, load, chosen.files, machine, config))
    notes = [*machine.notes, *engine.notes, *_notes(plan, share, machine, is_here=hardware is None)]
    arguments = engine.backend.arguments(spec, engine.flags) if engine.command else []
    return plan_response(str(model), plan, [*engine.command, *arguments], notes)


def _configured(name: str, variant: ModelVariant, config: Config) -> tuple[LoadOptions, PlanConstraints]:
    """The options and constraints that the configuration sets for the model."""
    settings = config.for_model(ModelRef.parse(name).text)
    load = llama_cpp.resolve(LoadOptions(), settings, variant.candidate.footprint.dims.trained_context or None)
    return load, plan_constraints(load, settings, Mode.EMBEDDING if variant.embeds else Mode.COMPLETION)


def _with_experience(variant: ModelVariant, binary: Binary | None, machine: Hardware, config: Config) -> ModelVariant:
    """The variant with what is known of the engine's program, and of earlier loads in this home."""
    files, candidate = variant.files, variant.candidate
    program = for_features(binary.program if binary else NATIVE, machine.cpu.features)
    if binary is None:
        return replace(variant, candidate=replace(candidate, program=program))
    model = model_key([files.weights, files.projector, *files.adapters])
    load = LoadIdentity(model=model, architecture=candidate.footprint.dims.architecture, build=binary.build)
    corrections = recall(config.home_dir / "state.db", load)
    return replace(variant, candidate=replace(candidate, program=program, corrections=corrections))


@dataclass(frozen=True)
class MachineShare:
    """The budgets of all engines together, and what loaded models hold of them."""

    budgets: Budgets
    reservations: tuple[Reservation, ...] = ()


def _share(
    hardware: Hardware, config: Config, variants: Sequence[ModelVariant], daemon: ModelsResponse | None
) -> MachineShare:
    """The share that the running daemon has, or that a new one would have. The planned model itself holds nothing."""
    budgets = budgets_of(hardware, config.default_max_memory_mb * MIB or None)
    if daemon is None or len(daemon.gpu_bytes) != len(budgets.devices):
        return MachineShare(budgets)
    limits = tuple(daemon.memory_limits)  # the daemon may run in another group than this process
    budgets = replace(budgets, host=daemon.host_bytes, devices=tuple(daemon.gpu_bytes), limits=limits)
    own = {str(variant.files.weights) for variant in variants}
    others = (loaded for loaded in daemon.models if loaded.path not in own)
    reservations = (Reservation(loaded.host_bytes, loaded.gpu_bytes, stays=loaded.pinned) for loaded in others)
    return MachineShare(budgets, tuple(reservations))


def _notes(plan: Plan, share: MachineShare, hardware: Hardware, *, is_here: bool) -> Iterator[str]:
    """Remarks about the machine and the request."""
    layers, needs = plan.constraints.layers_on_gpu, plan.solution.host_needs
    if layers and not plan.budgets.devices:
        yield f"no GPU for the {layers} requested layers: all layers run on the CPU"
    if plan.fits:  # else the refusal names them
        yield from plan.budgets.limits
    free = hardware.memory.available_bytes + sum(reservation.host for reservation in share.reservations)
    if is_here and plan.fits and needs > free:
        yield f"other programs use the memory now: the model needs {human_size(needs)}, and {human_size(free)} is free"


@dataclass(frozen=True, kw_only=True)
class EngineCommand:
    """The engine that would run the model: its command, empty if none can run it, and the flags it supports.

    `binary` is its program, if it is a llama.cpp's, and `devices` are those that it lists, None if it cannot.
    """

    command: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    knows_gpus: bool = True
    binary: Binary | None = None
    devices: Listed = None
    backend: Backend = llama_cpp.BACKEND
    notes: tuple[str, ...] = ()


# For another machine, whose installed engines are unknown.
ELSEWHERE = EngineCommand(command=("llama-server",), flags=frozenset(llama_cpp.DISPENSABLE))


def _engine(info: ModelInfo | None, hardware: Hardware, config: Config, *, is_here: bool) -> EngineCommand:
    """For formats other than GGUF (with `info`), the best engine, whether it is installed or not."""
    if info:
        return _routed(info, hardware, config)
    return _llama_server(hardware, config) if is_here else ELSEWHERE


def _llama_server(hardware: Hardware, config: Config) -> EngineCommand:
    binaries = EngineBinaries.of(config)
    try:
        binary, flags = awaited(binaries.choose())
        devices = awaited(binaries.devices(wheel_too=bool(hardware.gpus)))
    except NoEngineError:
        return ELSEWHERE
    knows_gpus = binaries.uses_gpus
    notes = () if knows_gpus else tuple(filter(None, [unused_gpu(hardware.gpus)]))
    return EngineCommand(
        command=binary.command, flags=flags, knows_gpus=knows_gpus, binary=binary, devices=devices, notes=notes
    )


def _routed(info: ModelInfo, hardware: Hardware, config: Config) -> EngineCommand:
    ranked = rank_engines(info, hardware, config)
    best = next((route for route in ranked if route.score), ranked[0])
    backend = best.backend
    program = next(programs_of(backend, config, read_choices(config.home_dir)), None)
    if not best.score:
        note = f"no engine can run this model here; {backend.title}: {'; '.join(best.reasons)}"
        return EngineCommand(command=(), notes=(note,))
    notes = [f"{backend.title} would run it: {'; '.join(best.reasons)}"]
    if not best.installed:
        notes.append(f"to install {backend.title}: {backend.install}")
    notes.append("weights and KV cache are exact; compute buffers are assumed to be as large as llama.cpp's")
    if backend.overhead_bytes:
        notes.append(f"the memory budget excludes {human_size(backend.overhead_bytes)} for the engine's own processes")
    command = program.command if program else (backend.executables[0],)
    return EngineCommand(command=command, knows_gpus=best.accelerator != "cpu", backend=backend, notes=tuple(notes))


def _load_constraints(
    constraints: PlanConstraints, load: LoadOptions, files: ModelFiles, hardware: Hardware, config: Config
) -> LoadConstraints:
    return LoadConstraints(
        files=files,
        socket=config.run_dir / "engine-1.sock",
        load=replace(load, num_gpu=constraints.layers_on_gpu, num_batch=constraints.batch),
        mode=Mode.EMBEDDING if constraints.embedding else Mode.COMPLETION,
        flash_attention={None: "auto", True: "on", False: "off"}[constraints.flash_attention],
    )
