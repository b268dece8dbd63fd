"""What a load teaches the next plan: the engine's own figures, and the memory that its process had."""

import pytest

from oprel.core.completion import LoadOptions
from oprel.server.pool.loaded_model import LoadedModel
from oprel.telemetry.memory.corrections import Corrections
from tests.fixtures.known_models import known_header
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MIB, MODEL, MODEL_MIB, MakePool, MemoryPool, installed

LOG = [
    f"load_tensors: CPU_Mapped model buffer size = {MODEL_MIB}.00 MiB",
    "sched_reserve: CPU compute buffer size = 0.50 MiB",
]
LARGE = 2000 * MIB


def measured(peak: int = 0) -> MemoryEngine:
    return MemoryEngine(log=[*LOG], resident=((MODEL_MIB + 60) * MIB, peak))


async def again(pool: MemoryPool, options: LoadOptions | None = None) -> LoadedModel:
    """The model, loaded once more after it was unloaded."""
    await pool.manager.unload(MODEL)
    return await pool.load(MODEL, options)


def corrections(loaded: LoadedModel) -> Corrections:
    return loaded.decision.plan.chosen.candidate.corrections


async def test_the_next_plan_of_a_model_uses_what_its_engine_took(make_pool: MakePool) -> None:
    pool = make_pool(measured())
    first = await pool.load(MODEL)
    assert corrections(first).loads == 0
    second = await again(pool)
    learned = corrections(second)
    assert learned.loads == 1 and learned.is_of_model and learned.process > 1
    assert second.decision.expected.host > first.decision.expected.host


async def test_an_engine_that_says_nothing_teaches_nothing(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(resident=(LARGE, LARGE)))
    await pool.load(MODEL)
    assert corrections(await again(pool)).loads == 0


async def test_no_less_is_reserved_than_the_same_setting_took_before(make_pool: MakePool) -> None:
    pool = make_pool(measured(peak=LARGE), default_max_memory_mb=8000)
    first = await pool.load(MODEL)
    assert first.needs.host < LARGE
    second = await again(pool)
    assert second.needs.host >= LARGE > second.decision.expected.host
    other = await again(pool, LoadOptions(num_ctx=256))
    assert other.needs.host < LARGE


@pytest.mark.parametrize("callers", [1, 2])
async def test_a_peak_counts_as_a_busy_one_once_every_slot_was_in_use(make_pool: MakePool, callers: int) -> None:
    pool = make_pool(measured(peak=(MODEL_MIB + 5) * MIB))  # less than when it was ready: cannot be, but tells
    waiting = [await pool.caller(MODEL) for _ in range(callers)]
    for caller in waiting:
        await caller.leave()
    learned = corrections(await again(pool))
    assert (learned.process < 1) == (callers == 2)  # of two slots


async def test_a_model_on_both_sides_teaches_only_what_its_log_tells_for_sure(make_pool: MakePool) -> None:
    log = [
        "load_tensors: CPU_Mapped model buffer size = 9000.00 MiB",
        "sched_reserve: CUDA0 compute buffer size = 900.00 MiB",
    ]
    engine = MemoryEngine(log=log, resident=(LARGE, LARGE))
    pool = make_pool(engine, hardware="nvidia-6gb", default_max_memory_mb=0, ctx_size=0, parallel=0)
    model = installed("llama", known_header("llama3.1-8b"))
    await pool.load(model)
    await pool.manager.unload(model)
    learned = corrections(await pool.load(model))
    assert learned.loads == 1 and learned.compute > 1
    assert learned.weights == learned.process == 1 and not learned.peaks
