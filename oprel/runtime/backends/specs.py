"""Turns options and settings into constraints of a plan, and a plan into the spec of an engine. Pure."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.settings import ModelSettings
from oprel.runtime.spec import EngineSpec, ModelFiles
from oprel.telemetry.memory.estimator import MIB
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan
from oprel.telemetry.recommender.settings import BATCH, UBATCH, PlanConstraints, Preference

SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, kw_only=True)
class LoadConstraints:
    """What no plan decides. `load` is requested or configured."""

    files: ModelFiles
    socket: Path
    load: LoadOptions
    mode: Mode = Mode.COMPLETION
    pooling: str | None = None
    flash_attention: str = "auto"
    extra_arguments: tuple[str, ...] = ()
    port: int = 0
    key: str = field(default="", repr=False)


def plan_constraints(load: LoadOptions, settings: ModelSettings, mode: Mode) -> PlanConstraints:
    """What the request and the settings fix, and the plan must keep."""
    cache_type = None if settings.kv_cache_type == "auto" else settings.kv_cache_type
    return PlanConstraints(
        context=load.num_ctx,
        slots=settings.parallel or None,
        key_type=cache_type,
        value_type=cache_type,
        flash_attention=SWITCH.get(settings.flash_attention),
        threads=load.num_thread,
        batch=load.num_batch,
        layers_on_gpu=load.num_gpu,
        mmap=load.use_mmap,
        embedding=mode is not Mode.COMPLETION,
        prefer=Preference(settings.prefer),
    )


def spec_of(plan: Plan, constraints: LoadConstraints) -> EngineSpec:
    """The spec for a plan. The engine places the layers, unless the user did or the plan avoids the GPUs."""
    solution, setting, placement = plan.solution, plan.solution.setting, plan.solution.placement
    devices, is_one_of_many = solution.placement.devices, len(solution.placement.devices) == 1 < len(plan.budgets.gpus)
    leaves_gpus_alone = solution.placement.kind is PlacementKind.CPU and bool(plan.budgets.devices)
    requested, threads = constraints.load, plan.chosen.threads
    places_layers = plan.places_layers and requested.num_gpu is None and bool(devices)
    load = replace(
        requested,
        num_ctx=setting.context,
        num_batch=setting.batch if setting.batch != BATCH else requested.num_batch,
        num_gpu=0 if leaves_gpus_alone else placement.gpu_layers if places_layers else requested.num_gpu,
        num_thread=threads.single,
        use_mmap=requested.use_mmap if solution.estimate.maps else False,
        main_gpu=devices[0] if is_one_of_many else requested.main_gpu,
    )
    return EngineSpec(
        files=constraints.files,
        socket=constraints.socket,
        load=load,
        mode=constraints.mode,
        pooling=constraints.pooling,
        parallel=setting.slots,
        cells=setting.cells,
        slot_context=_slot_context(plan, constraints),
        key_type=setting.key_type,
        value_type=setting.value_type,
        flash_attention=constraints.flash_attention,
        cache_ram_mib=solution.pool.cache // MIB,
        batch_threads=threads.batch if threads.batch != threads.single else None,
        ubatch=setting.ubatch if setting.ubatch != UBATCH else None,
        checkpoints=solution.pool.checkpoints,
        unified=setting.unified,
        swa_full=setting.swa_full,
        one_gpu=is_one_of_many,
        cpu_experts=placement.cpu_experts if places_layers else 0,
        split=placement.split if places_layers and len(devices) > 1 else (),
        projector_on_cpu=setting.projector_on_cpu,
        gpus=len(devices),
        kv_bytes=solution.estimate.kv_bytes + solution.estimate.state_bytes,
        extra_arguments=constraints.extra_arguments,
        port=constraints.port,
        key=constraints.key,
    )


def _slot_context(plan: Plan, constraints: LoadConstraints) -> int:
    """How many cells one slot may use: all of them, within the trained context, where no context was requested.

    Only its equal share in an engine that sees: how many cells an image takes is not known before.
    """
    setting = plan.solution.setting
    is_fixed = plan.constraints.context is not None or constraints.load.num_ctx is not None
    if is_fixed or constraints.mode is not Mode.COMPLETION or constraints.files.projector or not setting.unified:
        return setting.context
    trained = plan.chosen.candidate.footprint.dims.trained_context
    return max(setting.context, min(setting.cells, trained))
