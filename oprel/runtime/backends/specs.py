"""From what is configured to what a plan is asked for, and from a plan to what an engine is started with. Pure."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from oprel.core.completion import LoadOptions, Mode
from oprel.core.settings import ModelSettings
from oprel.runtime.spec import EngineSpec, ModelFiles
from oprel.telemetry.memory.estimator import MIB
from oprel.telemetry.recommender.placement import PlacementKind
from oprel.telemetry.recommender.planning import Plan
from oprel.telemetry.recommender.settings import BATCH, UBATCH, PlanConstraints

SWITCH = {"on": True, "off": False}


@dataclass(frozen=True)
class LoadConstraints:
    """What no plan decides: `load` as asked and configured, `threads` for who leaves them to us."""

    parts: ModelFiles
    socket: Path
    load: LoadOptions
    threads: int
    mode: Mode = Mode.COMPLETION
    pooling: str | None = None
    flash_attention: str = "auto"
    extra_arguments: tuple[str, ...] = ()
    port: int = 0
    key: str = field(default="", repr=False)


def asked_of(fixed: LoadOptions, settings: ModelSettings, mode: Mode) -> PlanConstraints:
    """What is fixed by requests and settings."""
    cache_type = None if settings.kv_cache_type == "auto" else settings.kv_cache_type
    return PlanConstraints(
        context=fixed.num_ctx,
        slots=settings.parallel or None,
        key_type=cache_type,
        value_type=cache_type,
        flash_attention=SWITCH.get(settings.flash_attention),
        batch=fixed.num_batch,
        layers_on_gpu=fixed.num_gpu,
        embedding=mode is not Mode.COMPLETION,
    )


def spec_of(plan: Plan, fixed: LoadConstraints) -> EngineSpec:
    """Layers are placed only if the user places them, or if GPUs are better left alone; else the engine does it."""
    solution, setting = plan.solution, plan.solution.setting
    devices, is_one_of_many = solution.placement.devices, len(solution.placement.devices) == 1 < len(plan.budgets.gpus)
    leaves_gpus_alone = solution.placement.kind is PlacementKind.CPU and bool(plan.budgets.devices)
    load = replace(
        fixed.load,
        num_ctx=setting.context,
        num_batch=setting.batch if setting.batch != BATCH else fixed.load.num_batch,
        num_gpu=0 if leaves_gpus_alone else fixed.load.num_gpu,
        num_thread=fixed.load.num_thread or fixed.threads,
        main_gpu=devices[0] if is_one_of_many else fixed.load.main_gpu,
    )
    return EngineSpec(
        parts=fixed.parts,
        socket=fixed.socket,
        load=load,
        mode=fixed.mode,
        pooling=fixed.pooling,
        parallel=setting.slots,
        cells=setting.cells,
        key_type=setting.key_type,
        value_type=setting.value_type,
        flash_attention=fixed.flash_attention,
        cache_ram_mib=solution.cache_ram // MIB,
        ubatch=setting.ubatch if setting.ubatch != UBATCH else None,
        checkpoints=solution.checkpoints,
        unified=setting.unified,
        swa_full=setting.swa_full,
        one_gpu=is_one_of_many,
        projector_on_cpu=setting.projector_on_cpu,
        gpus=len(devices),
        kv_bytes=solution.estimate.kv_bytes + solution.estimate.state_bytes,
        extra_arguments=fixed.extra_arguments,
        port=fixed.port,
        key=fixed.key,
    )
