"""What follows a start that failed: idle neighbours stop, the engine gets less, or another backend takes over."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from oprel.core.completion import LoadOptions, Mode
from oprel.core.exceptions import BackendStartError
from oprel.runtime.backends.engines import llama_cpp
from oprel.runtime.exits import Exit
from oprel.server.pool.load_decision import RequestedLoad, resolved
from oprel.server.pool.loaded_model import LoadedModel
from tests.conftest import DEADLINE
from tests.fixtures.memory_engine import CRASH, DEVICE_FULL, DEVICE_LOST, KILLED, OUT_OF_MEMORY, MemoryEngine
from tests.fixtures.pool import MakePool, MemoryPool, PoolOptions, installed, pinned, settled

A, B = installed("a"), installed("b")
PLANNED = LoadOptions()
TWO_SLOTS, ONE_SLOT = 2 * 4096, 4096  # cells
FREE: PoolOptions = {"parallel": 0, "ctx_size": 0}  # left to the planner: eight slots
FOUR = ("fewer saved conversations", "4 requests at a time")
TWO = ("fewer saved conversations", "2 requests at a time")
ONE = ("fewer saved conversations", "one request at a time")
SECOND = replace(llama_cpp.BACKEND, name="second")
THIRD = replace(llama_cpp.BACKEND, name="third")


def cells(pool: MemoryPool) -> list[int]:
    return [engine.spec.cells for engine in pool.engines if engine.spec]


# Out of memory


async def test_an_engine_that_runs_out_of_memory_is_started_with_less(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=TWO_SLOTS), **FREE)
    loaded = await pool.load(A, PLANNED)
    assert cells(pool) == [TWO_SLOTS] and pool.engines[0].starts == 3
    assert loaded.adjustments == TWO
    assert loaded.slots.total == loaded.spec.parallel == 2


async def test_it_gets_less_and_less_until_it_starts(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=ONE_SLOT), **FREE)
    loaded = await pool.load(A, PLANNED)
    assert pool.engines[0].starts == 4 and loaded.adjustments == ONE


async def test_a_requested_context_stays(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=2048), **FREE)
    with pytest.raises(BackendStartError):
        await pool.load(A, LoadOptions(num_ctx=4096))
    assert pool.loaded("a").num_ctx == 4096


async def test_the_start_fails_when_nothing_is_left_to_give_up(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=0), **FREE)
    with pytest.raises(BackendStartError, match="failed to allocate buffer"):
        await pool.load(A, PLANNED)
    assert pool.loaded("a").slots.total == 1 and not pool.loaded("a").in_flight


async def test_idle_neighbours_stop_first(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(), MemoryEngine(failing_starts=[OUT_OF_MEMORY]), **FREE)
    await pool.load(A, PLANNED)
    loaded = await pool.load(B, PLANNED)
    assert pool.names == ["b"] and pool.engines[0].was_stopped
    assert not loaded.adjustments  # it got more memory, and needs no less


async def test_after_its_neighbours_the_engine_itself_gets_less(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(), MemoryEngine(failing_starts=[OUT_OF_MEMORY, OUT_OF_MEMORY]), **FREE)
    await pool.load(A, PLANNED)
    loaded = await pool.load(B, PLANNED)
    assert pool.names == ["b"] and loaded.adjustments == FOUR


async def test_it_is_not_started_again_before_its_neighbours_have_ended(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(end_gate=gate), MemoryEngine(failing_starts=[OUT_OF_MEMORY]))
    await pool.load(A)
    caller = await pool.caller(B)
    assert caller.waits and pool.engines[1].starts == 1
    gate.set()
    await settled()
    assert caller.is_served and pool.engines[1].starts == 2


async def test_busy_and_pinned_neighbours_stay(make_pool: MakePool) -> None:
    engines = MemoryEngine(), MemoryEngine(), MemoryEngine(failing_starts=[OUT_OF_MEMORY])
    pool = make_pool(*engines, default_max_memory_mb=10_000, models=pinned("a"), parallel=0, ctx_size=0)
    await pool.load(A)
    await pool.caller(B)
    loaded = await pool.load(installed("c"), PLANNED)
    assert pool.names == ["a", "b", "c"] and loaded.adjustments


async def test_what_helped_an_engine_that_was_alone_is_remembered(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(most_cells=TWO_SLOTS), **FREE)
    await pool.load(A, PLANNED)
    await pool.manager.unload(A)
    loaded = await pool.load(A, PLANNED)
    assert cells(pool)[1] == TWO_SLOTS and pool.engines[1].starts == 1
    assert loaded.adjustments == TWO


async def test_what_helped_beside_others_is_not_remembered(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(), MemoryEngine(most_cells=TWO_SLOTS), **FREE)
    holder = await pool.caller(B)
    await pool.load(A, PLANNED)
    await pool.manager.unload(A)
    await holder.leave()
    loaded = await pool.load(A, PLANNED)
    assert not loaded.adjustments


async def test_an_engine_that_ran_out_of_memory_at_work_is_started_with_less(make_pool: MakePool) -> None:
    pool = make_pool(**FREE)
    loaded = await pool.load(A, PLANNED)
    pool.engines[0].die(OUT_OF_MEMORY)
    await pool.load(A, PLANNED)
    assert pool.engines[0].starts == 2 and loaded.adjustments == FOUR


async def test_an_engine_that_crashed_is_started_with_as_much_as_before(make_pool: MakePool) -> None:
    pool = make_pool(**FREE)
    loaded = await pool.load(A, PLANNED)
    pool.engines[0].die(CRASH)
    await pool.load(A, PLANNED)
    assert not loaded.adjustments


async def test_callers_at_the_same_time_handle_one_failure_once(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate, failing_starts=[OUT_OF_MEMORY]), **FREE)
    callers = [await pool.caller(A, PLANNED) for _ in range(2)]
    gate.set()
    await settled()
    assert all(caller.is_served for caller in callers)
    assert pool.engines[0].starts == 2 and pool.loaded("a").adjustments == FOUR


async def test_each_failure_is_handled_by_itself(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate, failing_starts=[OUT_OF_MEMORY] * 3), **FREE)
    callers = [await pool.caller(A, PLANNED) for _ in range(3)]
    gate.set()
    await settled()
    assert pool.engines[0].starts == 4 and pool.loaded("a").adjustments == ONE
    for number, caller in enumerate(callers):
        assert [other.is_served for other in callers] == [True] * (number + 1) + [False] * (2 - number)
        await caller.leave()


async def test_callers_of_an_engine_with_less_take_turns_for_what_it_has(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate, most_cells=TWO_SLOTS), **FREE)
    callers = [await pool.caller(A, PLANNED) for _ in range(4)]
    gate.set()
    await settled()
    slots = pool.loaded("a").slots
    assert [caller.is_served for caller in callers] == [True, True, False, False]
    assert (slots.in_use, slots.free_cells, slots.cells) == (2, 0, TWO_SLOTS)
    for caller in callers:
        await caller.leave()


async def test_a_start_that_failed_leaves_nobody_with_lost_slots(make_pool: MakePool) -> None:
    """Requests that hold slots again would take them, and their cells, for free ones."""
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate, failing_starts=[OUT_OF_MEMORY]), **FREE)
    callers = [await pool.caller(A, PLANNED) for _ in range(2)]
    gate.set()
    await settled()
    assert [caller.lease.grant.is_lost for caller in callers if caller.lease] == [False, False]


async def test_without_making_room_nothing_is_given_up(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(), MemoryEngine(most_cells=TWO_SLOTS), **FREE)
    await pool.load(B)
    caller = await pool.caller(A, PLANNED, makes_room=False)
    assert isinstance(caller.error, BackendStartError)
    assert pool.names == ["b", "a"] and not pool.loaded("a").adjustments


# GPUs

ON_GPU: PoolOptions = {"hardware": "nvidia-24gb", "default_max_memory_mb": 0, **FREE}
FAILED = ("the GPU failed (SIGSEGV)", "no layers on the GPU")


def layers(pool: MemoryPool) -> list[int | None]:
    return [engine.spec.load.num_gpu for engine in pool.engines if engine.spec]


async def test_a_start_that_crashes_on_the_gpu_is_tried_on_the_cpu(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH]), **ON_GPU)
    loaded = await pool.load(A, PLANNED)
    assert layers(pool) == [0] and not loaded.decision.on_gpus and loaded.adjustments == FAILED


async def test_what_was_requested_of_a_gpu_that_fails_is_computed_on_the_cpu(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH]), **ON_GPU)
    await pool.load(A, LoadOptions(num_gpu=99))
    assert layers(pool) == [0]


async def test_a_start_that_crashes_on_the_cpu_too_has_failed(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH, CRASH, CRASH]), **ON_GPU)
    with pytest.raises(BackendStartError):
        await pool.load(A, PLANNED)
    assert pool.engines[0].starts == 2


@pytest.mark.parametrize("failure", [CRASH, DEVICE_LOST], ids=["crash", "lost"])
async def test_a_gpu_gets_a_second_chance_and_no_third(make_pool: MakePool, failure: Exit) -> None:
    pool = make_pool(**ON_GPU)
    loaded = await pool.load(A, PLANNED)
    placed = []
    for _ in range(3):
        pool.engines[0].die(failure)
        await pool.load(A, PLANNED)
        placed += layers(pool)
    assert placed == [None, 0, 0] and loaded.adjustments[-1] == "no layers on the GPU"


async def test_the_next_load_tries_the_gpu_again(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH]), **ON_GPU)
    await pool.load(A, PLANNED)
    await pool.manager.unload(A)
    loaded = await pool.load(A, PLANNED)
    assert layers(pool) == [0, None] and not loaded.adjustments


async def test_an_engine_on_the_cpu_that_crashes_has_no_gpu_to_leave(make_pool: MakePool) -> None:
    pool = make_pool(**FREE)
    loaded = await pool.load(A, PLANNED)
    for _ in range(2):
        pool.engines[0].die(CRASH)
        await pool.load(A, PLANNED)
    assert layers(pool) == [None] and not loaded.adjustments


async def test_a_full_gpu_that_only_the_engine_knows_of_is_left(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[DEVICE_FULL]), **FREE)
    await pool.load(A, PLANNED)
    assert layers(pool) == [0] and pool.engines[0].starts == 2


async def test_a_gpu_that_was_full_once_is_used_whole_by_the_next_load(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[DEVICE_FULL]), **ON_GPU)
    loaded = await pool.load(A, PLANNED)
    assert loaded.adjustments and pool.engines[0].starts > 1
    await pool.manager.unload(A)
    assert not (await pool.load(A, PLANNED)).adjustments


# Killed from outside


async def test_a_start_that_was_killed_from_outside_is_tried_once_more(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[KILLED]))
    await pool.load(A)
    assert pool.engines[0].starts == 2


async def test_a_start_that_is_killed_twice_has_failed(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[KILLED, KILLED, KILLED]))
    with pytest.raises(BackendStartError):
        await pool.load(A)
    assert pool.engines[0].starts == 2


async def test_a_start_that_crashed_is_not_tried_again_for_the_same_request(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH, CRASH]))
    with pytest.raises(BackendStartError):
        await pool.load(A)
    assert pool.engines[0].starts == 1


# Fallback backends


Prepare = Callable[..., tuple[MemoryPool, LoadedModel]]


@pytest.fixture
def prepare(make_pool: MakePool) -> Prepare:
    """A model that three backends can serve, with an engine of each of them."""

    def prepared(*engines: MemoryEngine) -> tuple[MemoryPool, LoadedModel]:
        pool = make_pool(*engines)
        settings, options = pool.manager.config.for_model("a"), LoadOptions()
        request = RequestedLoad(options, resolved(A, settings, options))
        backends = llama_cpp.BACKEND, SECOND, THIRD
        return pool, pool.manager.launcher.prepare(
            A, settings, request, Mode.COMPLETION, residents=[], backends=backends
        )

    return prepared


async def test_the_next_backend_serves_a_model_whose_engine_does_not_start(prepare: Prepare) -> None:
    pool, loaded = prepare(MemoryEngine(failing_starts=[CRASH]))
    await pool.manager.make_ready(loaded)
    assert loaded.engine is pool.engines[1] and loaded.engine.is_ready
    assert loaded.decision.backend is SECOND and loaded.others == (THIRD,)
    assert loaded.adjustments == ("second, as llama.cpp did not start (SIGSEGV)",)


async def test_every_backend_is_tried_in_turn(prepare: Prepare) -> None:
    pool, loaded = prepare(MemoryEngine(failing_starts=[CRASH]), MemoryEngine(failing_starts=[CRASH]))
    await pool.manager.make_ready(loaded)
    assert loaded.decision.backend is THIRD and len(loaded.adjustments) == 2


async def test_the_last_backend_has_the_last_word(prepare: Prepare) -> None:
    pool, loaded = prepare(*(MemoryEngine(failing_starts=[CRASH, CRASH]) for _ in range(3)))
    with pytest.raises(BackendStartError):
        await pool.manager.make_ready(loaded)
    assert [engine.starts for engine in pool.engines] == [1, 1, 1]


async def test_a_backend_that_was_killed_from_outside_gets_a_second_start(prepare: Prepare) -> None:
    pool, loaded = prepare(MemoryEngine(failing_starts=[KILLED]))
    await pool.manager.make_ready(loaded)
    assert loaded.decision.backend is llama_cpp.BACKEND and pool.engines[0].starts == 2


async def test_after_two_kills_the_next_backend_takes_over(prepare: Prepare) -> None:
    pool, loaded = prepare(MemoryEngine(failing_starts=[KILLED, KILLED]))
    await pool.manager.make_ready(loaded)
    assert loaded.decision.backend is SECOND


async def test_callers_at_the_same_time_fall_back_once(prepare: Prepare) -> None:
    gate = asyncio.Event()
    pool, loaded = prepare(MemoryEngine(start_gate=gate, failing_starts=[CRASH]))
    callers = [asyncio.create_task(pool.manager.make_ready(loaded)) for _ in range(3)]
    await settled()
    gate.set()
    await asyncio.wait_for(asyncio.gather(*callers), DEADLINE)
    assert loaded.decision.backend is SECOND and len(pool.engines) == 2


async def test_a_fallback_that_starts_again_is_not_replaced(prepare: Prepare) -> None:
    pool, loaded = prepare(MemoryEngine(failing_starts=[CRASH]))
    await pool.manager.make_ready(loaded)
    pool.engines[1].die()
    await pool.manager.make_ready(loaded)
    assert loaded.engine is pool.engines[1] and loaded.engine.starts == 2
