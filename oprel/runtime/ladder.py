"""What is given up, one step after the other, when an engine runs out of memory. Decisions on data.

What a request asked for stays, its context above all; what is only configured or chosen goes.
"""

from dataclasses import replace
from enum import Enum

from oprel.runtime.backends.base import EngineSpec, Mode

SMALL_BATCH = 256
SMALLEST_CONTEXT = 2048


class Step(Enum):
    """In the order in which they are taken; the values are what users read."""

    SMALLER_BATCH = "smaller batches"
    ONE_SLOT = "one request at a time"
    PROJECTOR_ON_CPU = "images on the CPU"
    SMALLER_CACHE_TYPE = "KV cache in q8_0"
    SHORTER_CONTEXT = "a shorter context"
    NO_GPU = "no layers on the GPU"


def next_step(spec: EngineSpec, taken: tuple[Step, ...], *, context_is_fixed: bool) -> Step | None:
    """The first step that makes `spec`, with those `taken` in it, any smaller; None at the end of the ladder."""
    for step in Step:
        repeats = step is Step.SHORTER_CONTEXT
        if (repeats or step not in taken) and _helps(step, spec, context_is_fixed):
            return step
    return None


def stepped(spec: EngineSpec, step: Step) -> EngineSpec:
    """`spec` with less."""
    load = spec.load
    match step:
        case Step.SMALLER_BATCH:
            return replace(spec, load=replace(load, num_batch=SMALL_BATCH))
        case Step.ONE_SLOT:
            return replace(spec, parallel=1)
        case Step.PROJECTOR_ON_CPU:
            return replace(spec, projector_on_cpu=True)
        case Step.SMALLER_CACHE_TYPE:
            return replace(spec, kv_cache_type="q8_0")
        case Step.SHORTER_CONTEXT:
            return replace(spec, load=replace(load, num_ctx=max(SMALLEST_CONTEXT, (load.num_ctx or 0) // 2)))
        case Step.NO_GPU:
            return replace(spec, load=replace(load, num_gpu=0))


def _helps(step: Step, spec: EngineSpec, context_is_fixed: bool) -> bool:
    load = spec.load
    match step:
        case Step.SMALLER_BATCH:  # an input to embed must fit into one batch
            return spec.mode is Mode.COMPLETION and load.num_batch is None
        case Step.ONE_SLOT:
            return spec.parallel > 1
        case Step.PROJECTOR_ON_CPU:
            return spec.parts.projector is not None and not spec.projector_on_cpu
        case Step.SMALLER_CACHE_TYPE:
            return spec.kv_cache_type in ("f32", "f16", "bf16") and spec.flash_attention != "off"
        case Step.SHORTER_CONTEXT:
            return not context_is_fixed and (load.num_ctx or 0) > SMALLEST_CONTEXT
        case Step.NO_GPU:
            return load.num_gpu is None
