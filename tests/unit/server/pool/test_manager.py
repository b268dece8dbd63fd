"""The pool: which engine serves a request, when engines are stopped, and what happens to callers meanwhile."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta

import pytest

from oprel.core.completion import CompletionRequest, LoadOptions, Mode
from oprel.core.exceptions import (
    BackendError,
    BackendStartError,
    BusyError,
    InsufficientMemoryError,
    ShuttingDownError,
)
from oprel.server.pool.scheduling import SHORTEST_TURN
from oprel.telemetry.recommender.budgets import with_rates
from oprel.telemetry.recommender.speed.threads import LONG_IDLE
from tests.conftest import DEADLINE
from tests.fixtures.memory_engine import CRASH, OUT_OF_MEMORY, MemoryEngine
from tests.fixtures.pool import EMBEDDER, MODIFIED, MakePool, MemoryPool, header, installed, pinned, settled

A, B, C = installed("a"), installed("b"), installed("c")
SHORT, LONG = LoadOptions(num_ctx=256), LoadOptions(num_ctx=1024)
SOON = 0.005  # s


# Joining an engine


async def test_callers_at_the_same_time_share_one_engine(pool: MemoryPool) -> None:
    first, second = await pool.caller(A), await pool.caller(A)
    assert first.lease and second.lease and first.lease.engine is second.lease.engine
    assert pool.loaded("a").leases == 2 and pool.engines[0].starts == 1


async def test_callers_share_one_start(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate))
    callers = [await pool.caller(A), await pool.caller(A)]
    assert all(caller.waits for caller in callers)
    gate.set()
    await settled()
    assert all(caller.is_served for caller in callers)
    assert [engine.starts for engine in pool.engines] == [1]


async def test_a_longer_context_serves_a_request_for_a_shorter_one(pool: MemoryPool) -> None:
    await pool.caller(A)
    assert (await pool.caller(A, SHORT)).is_served
    assert len(pool.engines) == 1


async def test_other_options_replace_the_engine_once_it_is_idle(pool: MemoryPool) -> None:
    holder = await pool.caller(A)
    other = await pool.caller(A, LONG)
    assert other.waits and len(pool.engines) == 1
    await holder.leave()
    assert other.lease and other.lease.num_ctx == 1024
    assert pool.engines[0].was_stopped and pool.names == ["a"]
    assert pool.counted("evictions") == {("a", "replaced"): 1}


async def test_callers_behind_a_replacement_wait_for_it(pool: MemoryPool) -> None:
    """Else a stream of requests for the loaded options would keep those for others waiting for ever."""
    holder, other, late = await pool.caller(A), await pool.caller(A, LONG), await pool.caller(A, SHORT)
    assert other.waits and late.waits
    await holder.leave()
    assert other.is_served and late.lease and late.lease.num_ctx == 1024


async def test_a_changed_file_gets_a_new_engine(pool: MemoryPool) -> None:
    await pool.load(A)
    changed = replace(A, modified=MODIFIED + timedelta(seconds=1))
    assert (await pool.load(changed)).engine is pool.engines[1]
    assert pool.engines[0].was_stopped


async def test_two_names_of_one_file_share_an_engine(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.load(replace(A, name="alias"))
    assert pool.loaded("a").names.keys() == {"a", "alias"} and len(pool.engines) == 1


async def test_an_engine_is_shown_under_the_name_that_was_requested_last(pool: MemoryPool) -> None:
    alias = replace(A, name="alias")
    for model in (A, alias, A):
        await pool.load(model)
        (status,) = pool.manager.statuses()
        assert status.latest == model


async def test_an_engine_outlives_a_name_of_its_model_but_not_the_last_that_it_served(pool: MemoryPool) -> None:
    alias = replace(A, name="alias")
    await pool.load(A)
    await pool.load(alias)
    await pool.manager.unload(alias, removed=True)
    (status,) = pool.manager.statuses()
    assert (status.latest, status.names) == (A, ("a",))
    await pool.manager.unload(A, removed=True)
    assert pool.names == [] and pool.engines[0].was_stopped


async def test_an_alias_that_is_pinned_pins_the_engine(make_pool: MakePool) -> None:
    pool = make_pool(models=pinned("alias"))
    await pool.load(A)
    assert not pool.loaded("a").pinned
    await pool.load(replace(A, name="alias"))
    assert pool.loaded("a").pinned and pool.loaded("a").lifetime.is_endless


async def test_embeddings_have_an_engine_of_their_own(pool: MemoryPool) -> None:
    await pool.caller(A)
    await pool.caller(A, mode=Mode.EMBEDDING)
    assert [loaded.spec.mode for loaded in pool.manager.loaded] == [Mode.COMPLETION, Mode.EMBEDDING]


async def test_each_lease_counts_as_a_use_of_its_model(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.load(EMBEDDER)
    await pool.load(A)
    assert pool.used == ["a", "embedder", "a"]


async def test_a_lease_says_how_long_it_waited_for_a_slot_and_for_the_engine(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate), parallel=1)
    first, second = await pool.caller(A), await pool.caller(A)
    pool.clock.advance(3.0)
    gate.set()
    await settled()
    assert first.lease and (first.lease.load_ns, first.lease.queued_ns) == (3 * 10**9, 0)
    pool.clock.advance(2.0)
    await first.leave()
    assert second.lease and (second.lease.load_ns, second.lease.queued_ns) == (0, 5 * 10**9)


# Keep-alive


async def test_an_idle_engine_is_stopped_after_its_keep_alive(pool: MemoryPool) -> None:
    await pool.load(A, keep_alive=SOON)
    assert pool.names == ["a"]
    await asyncio.wait_for(pool.manager.admission.until(lambda: not pool.names), DEADLINE)
    assert pool.engines[0].was_stopped and pool.counted("evictions") == {("a", "idle"): 1}


async def test_the_keep_alive_counts_from_the_last_lease(pool: MemoryPool) -> None:
    first, second = await pool.caller(A, keep_alive=60), await pool.caller(A)
    pool.clock.advance(100)
    await first.leave()
    assert math.isinf(pool.loaded("a").lifetime.expires_at)  # in use
    pool.clock.advance(100)
    await second.leave()
    assert pool.loaded("a").lifetime.expires_at == pool.clock.now + 60


async def test_a_keep_alive_of_zero_stops_the_engine_with_its_last_lease(pool: MemoryPool) -> None:
    await pool.load(A, keep_alive=0)
    await asyncio.wait_for(pool.manager.admission.until(lambda: not pool.names), DEADLINE)
    assert pool.counted("evictions") == {("a", "asked"): 1}


async def test_an_endless_keep_alive_never_ends(make_pool: MakePool) -> None:
    pool = make_pool(keep_alive="-1")
    caller = await pool.caller(A)
    await caller.leave()
    lifetime = pool.loaded("a").lifetime
    assert math.isinf(lifetime.expires_at) and not lifetime.is_running


async def test_a_use_ends_the_countdown(pool: MemoryPool) -> None:
    await pool.load(A)
    caller = await pool.caller(A)
    assert not pool.loaded("a").lifetime.is_running
    await caller.leave()
    assert pool.loaded("a").lifetime.is_running


async def test_a_locked_keep_alive_is_not_changed_by_a_request(make_pool: MakePool) -> None:
    pool = make_pool(keep_alive="10m", keep_alive_locked="on")
    assert (await pool.load(A, keep_alive=0)).lifetime.keep_alive == 600


async def test_a_pinned_model_ignores_the_keep_alive_of_a_request(make_pool: MakePool) -> None:
    pool = make_pool(models=pinned("a"))
    assert (await pool.load(A, keep_alive=0)).lifetime.is_endless


async def test_an_engine_that_is_used_again_before_it_is_stopped_stays(pool: MemoryPool) -> None:
    """The lease came between the end of the countdown and the stop, which waits for the engine's lock."""
    loaded = await pool.load(A)
    async with pool.manager._locks.of(loaded.key):
        loaded.lifetime.cancel()
        stop = asyncio.create_task(pool.manager._expire(loaded))
        await settled()
        loaded.leases += 1
    await stop
    assert pool.names == ["a"]
    pool.manager._release(loaded)


# Eviction


async def test_the_idle_engine_that_is_worth_least_makes_room(pool: MemoryPool) -> None:
    await pool.load(A)
    pool.clock.advance(60)
    await pool.load(B)
    await pool.load(C)
    assert pool.names == ["b", "c"]
    assert pool.counted("evictions") == {("a", "memory"): 1}


async def test_a_busy_engine_is_not_stopped_but_waited_for(pool: MemoryPool) -> None:
    holders = [await pool.caller(A), await pool.caller(B)]
    third = await pool.caller(C)
    assert third.waits and pool.names == ["a", "b"]
    await holders[1].leave()
    assert third.is_served and pool.names == ["a", "c"]


async def test_an_engine_whose_turn_is_over_takes_no_further_request(pool: MemoryPool) -> None:
    holder, other = await pool.caller(A), await pool.caller(B)
    pool.clock.advance(SHORTEST_TURN)
    third, late = await pool.caller(C), await pool.caller(A)
    assert pool.loaded("a").closed and third.waits and late.waits
    await holder.leave()
    assert third.is_served and late.waits
    await other.leave()
    assert late.is_served and sorted(pool.names) == ["a", "c"]


async def test_an_evicted_model_is_loaded_again_for_its_next_caller(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(end_gate=gate))
    await pool.load(A)
    await pool.load(B)
    pool.clock.advance(60)
    await pool.load(B)
    waiting = await pool.caller(C)
    again = await pool.caller(A)
    assert waiting.waits and again.waits and pool.loaded("a").leaving
    gate.set()
    await settled()
    assert waiting.is_served and again.is_served and len(pool.engines) == 4


async def test_an_engine_that_cannot_be_stopped_is_tried_again_at_the_next_change(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(close_error=BackendError("it does not end")))
    await pool.load(A)
    holder = await pool.caller(B)
    waiting = await pool.caller(C)
    assert waiting.waits and pool.names == ["a", "b"]
    pool.engines[0].close_error = None
    await holder.leave()
    assert waiting.is_served


async def test_pinned_models_are_not_evicted(make_pool: MakePool) -> None:
    pool = make_pool(models=pinned("a"))
    await pool.load(A)
    pool.clock.advance(60)
    await pool.load(B)
    await pool.load(C)
    assert pool.names == ["a", "c"]


async def test_a_model_that_does_not_fit_beside_pinned_ones_is_refused(make_pool: MakePool) -> None:
    pool = make_pool(models=pinned("a", "b"))
    await pool.load(A)
    await pool.load(B)
    with pytest.raises(InsufficientMemoryError, match="pinned models take"):
        await pool.load(C)
    assert pool.names == ["a", "b"]


async def test_a_model_that_needs_more_than_the_machine_has_is_refused(pool: MemoryPool) -> None:
    await pool.load(A)
    with pytest.raises(InsufficientMemoryError, match="huge does not fit"):
        await pool.load(installed("huge", header(mib=3000)))
    assert pool.names == ["a"]


async def test_a_model_that_waits_for_memory_is_listed(pool: MemoryPool) -> None:
    await pool.caller(A)
    await pool.caller(B)
    await pool.caller(C)
    [model] = pool.manager.admission.waiting
    assert model.name == "c"


async def test_a_client_that_stops_waiting_for_memory_leaves_nothing_behind(pool: MemoryPool) -> None:
    holder = await pool.caller(A)
    await pool.caller(B)
    third = await pool.caller(C)
    await third.cancel()
    await holder.leave()
    assert pool.names == ["a", "b"] and not pool.manager.admission.waiting


# Without making room


async def test_without_making_room_a_model_is_loaded_into_free_memory(pool: MemoryPool) -> None:
    await pool.load(A)
    assert (await pool.caller(B, makes_room=False)).is_served


async def test_without_making_room_no_engine_is_evicted(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.load(B)
    caller = await pool.caller(C, makes_room=False)
    assert isinstance(caller.error, BusyError) and pool.names == ["a", "b"]


async def test_without_making_room_no_engine_is_replaced(pool: MemoryPool) -> None:
    await pool.load(A)
    caller = await pool.caller(A, LONG, makes_room=False)
    assert isinstance(caller.error, BusyError) and caller.error.message == "a is loaded with other options"
    assert len(pool.engines) == 1


# Too many callers


async def test_more_callers_than_slots_and_queue_are_refused(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1, max_queue=2)
    first, *waiting = [await pool.caller(A) for _ in range(3)]
    refused = await pool.caller(A)
    assert first.is_served and all(caller.waits for caller in waiting)
    assert isinstance(refused.error, BusyError) and "number 3 in the queue of a" in refused.error.resolution_steps[0]
    assert pool.counted("refused") == {("a",): 1} and pool.loaded("a").leases == 3


async def test_an_idle_engine_gets_other_threads_when_the_load_has_changed(make_pool: MakePool) -> None:
    pool = make_pool()
    loaded, planning = await pool.load(A), pool.manager.planning
    cores = loaded.spec.load.num_thread or 0
    planning.hardware = replace(planning.hardware, cpu=replace(planning.hardware.cpu, busy_cores=1.0))
    planning.machine = with_rates(planning.machine, planning.hardware)
    assert await pool.load(A) is loaded  # it was in use a moment ago
    pool.clock.advance(LONG_IDLE)
    caller = await pool.caller(A)
    assert pool.loaded("a").spec.load.num_thread == cores - 1 and pool.engines[0].was_stopped
    pool.clock.advance(LONG_IDLE)
    assert (await pool.load(A)).spec.load.num_thread == cores - 1 and len(pool.engines) == 2
    await caller.leave()


async def test_a_refusal_says_when_to_try_again(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1, max_queue=2)
    await pool.load(A)
    pool.loaded("a").pace.note(tokens=10, generating=1.0, whole=4.0)
    for _ in range(3):
        await pool.caller(A)
    refused = await pool.caller(A)
    assert refused.error and refused.error.retry_after == 2 * 4.0


async def test_callers_of_a_model_that_waits_for_memory_are_bounded_too(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1, max_queue=1)
    await pool.caller(A)
    await pool.caller(B)
    waiting = [await pool.caller(C), await pool.caller(C)]
    refused = await pool.caller(C)
    assert all(caller.waits for caller in waiting) and isinstance(refused.error, BusyError)


async def test_a_caller_that_needs_no_slot_is_not_refused(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1, max_queue=0)
    await pool.caller(A)
    assert (await pool.caller(A, slots=0)).is_served
    assert isinstance((await pool.caller(A)).error, BusyError)


async def test_a_client_that_stops_waiting_for_a_slot_gives_its_place_up(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1)
    first, second, third = [await pool.caller(A) for _ in range(3)]
    await second.cancel()
    await first.leave()
    assert third.is_served and pool.loaded("a").leases == 1


# Starts that fail


async def test_a_failed_start_is_reported_to_every_waiting_caller(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate, failing_starts=[CRASH]))
    callers = [await pool.caller(A), await pool.caller(A)]
    gate.set()
    await settled()
    assert all(isinstance(caller.error, BackendStartError) for caller in callers)
    assert pool.counted("loads") == {("a", "crash_signal"): 1}


async def test_the_next_request_tries_the_start_again(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH]))
    assert isinstance((await pool.caller(A)).error, BackendStartError)
    assert (await pool.caller(A)).is_served
    assert pool.engines[0].starts == 2 and len(pool.engines) == 1
    assert pool.counted("restarts") == {("a", "crash_signal"): 1}


async def test_a_request_for_other_options_gets_another_engine_than_the_one_that_failed(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(failing_starts=[CRASH]))
    assert isinstance((await pool.caller(A)).error, BackendStartError)
    assert (await pool.caller(A, SHORT)).is_served
    assert len(pool.engines) == 2 and pool.names == ["a"]


async def test_an_engine_that_did_not_start_makes_room_for_others(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(), MemoryEngine(failing_starts=[CRASH]))
    holder = await pool.caller(A)
    assert (await pool.caller(B)).error
    assert (await pool.caller(C)).is_served
    assert pool.names == ["a", "c"]
    await holder.leave()


async def test_an_engine_that_died_is_started_again_for_the_next_request(pool: MemoryPool) -> None:
    await pool.load(A)
    pool.engines[0].die()
    assert (await pool.caller(A)).is_served
    assert pool.engines[0].starts == 2 and pool.counted("restarts") == {("a", "crash_signal"): 1}


async def test_a_crash_is_recorded_with_the_requests_in_the_engine(pool: MemoryPool) -> None:
    loaded = await pool.load(A)
    with loaded.in_flight.entered("a", CompletionRequest("hello"), pool.clock.now):
        pool.clock.advance(2.0)
        pool.engines[0].die()
    [crash] = [pool.manager.crashes.find(entry.id) for entry in pool.manager.crashes.entries()]
    assert (crash.model, crash.reason, crash.starts) == ("a", "crash_signal", 1)
    assert [(request.characters, request.seconds) for request in crash.requests] == [(5, 2.0)]


async def test_the_end_of_an_engine_that_is_gone_is_ignored(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.manager.unload(A)
    pool.engines[0].die()
    assert not pool.manager.crashes.entries()


# Clients that leave while the engine loads


async def test_a_load_goes_on_when_its_only_client_leaves(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate))
    caller = await pool.caller(A)
    await caller.cancel()
    assert pool.names == ["a"] and pool.engines[0].is_loading
    gate.set()
    await settled()
    assert pool.engines[0].is_ready and pool.loaded("a").lifetime.is_running
    assert pool.counted("loads") == {("a", "ready"): 1}


async def test_an_engine_that_was_loaded_for_a_client_that_left_may_be_evicted(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate))
    await (await pool.caller(A)).cancel()
    await pool.caller(B)
    waiting = await pool.caller(C)
    assert waiting.waits  # an engine that loads is not stopped
    gate.set()
    await settled()
    assert waiting.is_served and pool.names == ["b", "c"]


async def test_a_client_that_leaves_does_not_end_the_start_for_others(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(start_gate=gate))
    first, second = await pool.caller(A), await pool.caller(A)
    await first.cancel()
    gate.set()
    await settled()
    assert second.is_served and pool.engines[0].starts == 1


async def test_a_load_that_fails_after_its_client_left_does_no_harm(make_pool: MakePool) -> None:
    gate = asyncio.Event()
    pool = make_pool(MemoryEngine(), MemoryEngine(start_gate=gate, failing_starts=[OUT_OF_MEMORY]))
    await pool.load(B)
    await (await pool.caller(A)).cancel()
    gate.set()
    await settled()
    assert pool.names == ["b", "a"]  # without a client, no neighbour is stopped for it


# Unloading, draining, closing


async def test_an_idle_model_is_unloaded_at_once(pool: MemoryPool) -> None:
    await pool.load(A)
    assert [loaded.model.name for loaded in await pool.manager.unload(A)] == ["a"]
    assert not pool.names and pool.counted("evictions") == {("a", "asked"): 1}


async def test_a_used_model_is_unloaded_with_its_last_lease(pool: MemoryPool) -> None:
    caller = await pool.caller(A)
    await pool.manager.unload(A)
    assert pool.names == ["a"] and pool.engines[0].is_ready
    await caller.leave()
    await asyncio.wait_for(pool.manager.admission.until(lambda: not pool.names), DEADLINE)


async def test_unloading_stops_the_engines_of_all_modes(pool: MemoryPool) -> None:
    await pool.load(A)
    await (await pool.caller(A, mode=Mode.EMBEDDING)).leave()
    assert len(await pool.manager.unload(A)) == 2
    assert not pool.names


async def test_a_model_that_is_not_loaded_need_not_be_unloaded(pool: MemoryPool) -> None:
    assert await pool.manager.unload(A) == []


async def test_draining_refuses_new_leases_and_waits_for_the_last_one(pool: MemoryPool) -> None:
    caller = await pool.caller(A)
    drained = asyncio.create_task(pool.manager.drain())
    await settled()
    assert isinstance((await pool.caller(A)).error, ShuttingDownError) and not drained.done()
    await caller.leave()
    assert drained.done() and pool.names == ["a"]


async def test_draining_ends_the_wait_for_memory(pool: MemoryPool) -> None:
    holders = [await pool.caller(A), await pool.caller(B)]
    waiting = await pool.caller(C)
    other = await pool.caller(A, LONG)
    drained = asyncio.create_task(pool.manager.drain())
    await settled()
    assert isinstance(waiting.error, ShuttingDownError) and isinstance(other.error, ShuttingDownError)
    for holder in holders:
        await holder.leave()
    assert drained.done()


async def test_callers_that_wait_for_a_slot_are_served_while_draining(make_pool: MakePool) -> None:
    pool = make_pool(parallel=1)
    first, second = await pool.caller(A), await pool.caller(A)
    drained = asyncio.create_task(pool.manager.drain())
    await settled()
    await first.leave()
    assert second.is_served and not drained.done()
    await second.leave()
    assert drained.done()


async def test_closing_stops_every_engine(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.caller(B)
    await pool.manager.close()
    assert all(engine.was_stopped for engine in pool.engines) and not pool.names
    assert isinstance((await pool.caller(A)).error, ShuttingDownError)


async def test_closing_reports_an_engine_that_does_not_end(
    make_pool: MakePool, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool(MemoryEngine(close_error=BackendError("it does not end")))
    await pool.load(A)
    await pool.load(B)
    await pool.manager.close()
    assert pool.engines[1].was_stopped and "it does not end" in caplog.text


async def test_killing_ends_every_engine_at_once(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.load(B)
    pool.manager.kill()
    assert all(engine.is_down for engine in pool.engines)


# Observers, and engines that are gone


async def test_observers_are_called_when_engines_are_added_and_removed(pool: MemoryPool) -> None:
    changes: list[list[str]] = []
    with pool.manager.observed(lambda: changes.append(pool.names)):
        await pool.load(A)
        await pool.manager.unload(A)
    await pool.load(B)
    assert changes[0] == ["a"] and changes[-1] == []


async def test_observers_are_called_for_a_new_keep_alive(pool: MemoryPool) -> None:
    await pool.load(A)
    changes: list[float] = []
    with pool.manager.observed(lambda: changes.append(pool.loaded("a").lifetime.keep_alive)):
        await pool.load(A, keep_alive=7)
    assert changes == [7]


async def test_the_last_engine_of_a_model_can_be_looked_at_after_its_end(pool: MemoryPool) -> None:
    await pool.load(A)
    await pool.manager.unload(A)
    assert pool.manager.last_engine("a") is pool.engines[0]
    await pool.load(A)
    assert pool.manager.last_engine("a") is pool.engines[1]
    assert pool.manager.last_engine("nonesuch") is None


async def test_a_described_machine_is_not_probed(pool: MemoryPool) -> None:
    described = pool.manager.planning.hardware
    await pool.load(A)
    await pool.manager.unload(A)
    await pool.load(A)
    assert pool.manager.planning.hardware is described
