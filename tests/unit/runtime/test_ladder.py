"""What is given up for lack of memory, in which order."""

from dataclasses import replace
from pathlib import Path

from oprel.runtime.backends.base import EngineSpec, LoadOptions, Mode, Parts
from oprel.runtime.ladder import SMALLEST_CONTEXT, Step, next_step, stepped

FULL = EngineSpec(
    parts=Parts(Path("m.gguf"), projector=Path("p.gguf")),
    socket=Path("e.sock"),
    load=LoadOptions(num_ctx=8192),
    mode=Mode.COMPLETION,
    pooling=None,
    parallel=4,
    kv_cache_type="f16",
    flash_attention="auto",
    cache_ram_mib=100,
)


def descent(spec: EngineSpec, *, context_is_fixed: bool = False) -> tuple[list[Step], EngineSpec]:
    taken: tuple[Step, ...] = ()
    while step := next_step(spec, taken, context_is_fixed=context_is_fixed):
        taken, spec = (*taken, step), stepped(spec, step)
    return list(taken), spec


def test_what_is_missed_least_goes_first() -> None:
    taken, spec = descent(FULL)
    assert taken == [
        Step.SMALLER_BATCH,
        Step.ONE_SLOT,
        Step.PROJECTOR_ON_CPU,
        Step.SMALLER_CACHE_TYPE,
        Step.SHORTER_CONTEXT,
        Step.SHORTER_CONTEXT,
        Step.NO_GPU,
    ]
    assert (spec.load.num_ctx, spec.load.num_gpu, spec.parallel, spec.kv_cache_type) == (SMALLEST_CONTEXT, 0, 1, "q8_0")


def test_a_context_that_was_asked_for_stays() -> None:
    assert descent(FULL, context_is_fixed=True)[1].load.num_ctx == 8192


def test_layers_that_were_asked_for_stay() -> None:
    assert descent(replace(FULL, load=replace(FULL.load, num_gpu=10)))[1].load.num_gpu == 10


def test_inputs_to_embed_keep_their_batch() -> None:
    assert Step.SMALLER_BATCH not in descent(replace(FULL, mode=Mode.EMBEDDING))[0]


def test_a_quantized_cache_needs_flash_attention() -> None:
    assert Step.SMALLER_CACHE_TYPE not in descent(replace(FULL, flash_attention="off"))[0]


def test_what_has_nothing_to_give_up_stays_as_it_is() -> None:
    least = LoadOptions(num_ctx=512, num_batch=64, num_gpu=0)
    spec = replace(FULL, parts=Parts(Path("m.gguf")), load=least, parallel=1, kv_cache_type="q4_0")
    assert descent(spec) == ([], spec)
