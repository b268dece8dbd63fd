"""The queue for memory: engines and models as data, decisions without an engine."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from oprel.core.exceptions import InsufficientMemoryError
from oprel.server.pool.admission import AdmissionQueue
from oprel.server.pool.scheduling import OVERTAKING, SHORTEST_TURN, Amount, Resident, SchedulingDecision, Use
from tests.conftest import DEADLINE
from tests.fixtures.pool import SetClock, settled

LONG_AGO = 0.0


class Machine:
    """100 bytes of memory, the engines that have some of it, and the queue for the rest."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.budget = Amount(100)
        self.engines: dict[str, Resident] = {}
        self.evicted: list[str] = []
        self.closed: list[str] = []
        self.queue = AdmissionQueue(lambda: self.budget, self.clock, lambda: [*self.engines.values()], self._apply)

    def _apply(self, decision: SchedulingDecision) -> None:
        for engine in [*self.engines.values()]:
            if engine.id in decision.evict:
                self.evicted.append(engine.name)
                self.engines[engine.name] = replace(engine, use=Use.LEAVING)
        self.closed = [engine.name for engine in self.engines.values() if engine.id in decision.close]

    def has(self, name: str, bytes: int, use: Use = Use.IDLE, ready_at: float = LONG_AGO, **others: bool) -> None:
        """An engine holds memory."""
        id = 100 + len(self.engines)
        self.engines[name] = Resident(id=id, name=name, needs=Amount(bytes), use=use, ready_at=ready_at, **others)

    def change(self, name: str, **values: object) -> None:
        """The engine is used in another way."""
        self.engines[name] = replace(self.engines[name], **values)  # type: ignore[arg-type]
        self.queue.reconsider()

    async def end(self, name: str) -> None:
        """The engine's memory is free again."""
        del self.engines[name]
        self.queue.reconsider()
        await settled()

    async def wants(self, name: str, bytes: int, *, makes_room: bool = True) -> "Waiter":
        waiter = Waiter(self, name, Amount(bytes), makes_room=makes_room)
        await settled()
        return waiter

    @property
    def waiting(self) -> list[str]:
        return [model.name for model in self.queue.waiting]


class Waiter:
    """Waits for memory, and takes it when it is admitted."""

    def __init__(self, machine: Machine, name: str, needs: Amount, *, makes_room: bool) -> None:
        self.is_admitted = False
        self.refusal: InsufficientMemoryError | None = None
        self.task = asyncio.create_task(self._wait(machine, name, needs, makes_room=makes_room))

    async def _wait(self, machine: Machine, name: str, needs: Amount, *, makes_room: bool) -> None:
        try:
            async with machine.queue.admitted(name, needs, makes_room=makes_room):
                self.is_admitted = True
                machine.has(name, needs.host, Use.LOADING)
        except InsufficientMemoryError as refusal:
            self.refusal = refusal

    async def cancel(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        await settled()


@pytest.fixture
async def machine() -> Machine:
    return Machine()


async def test_free_memory_is_given_at_once(machine: Machine) -> None:
    assert (await machine.wants("a", 60)).is_admitted
    assert machine.queue.free == Amount(40)


async def test_all_models_share_one_budget(machine: Machine) -> None:
    first, second, third = [await machine.wants(name, 40) for name in "abc"]
    assert (first.is_admitted, second.is_admitted, third.is_admitted) == (True, True, False)


async def test_a_waiting_model_is_admitted_when_memory_is_free_again(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    waiter = await machine.wants("new", 60)
    assert not waiter.is_admitted
    await machine.end("old")
    assert waiter.is_admitted and not machine.waiting


async def test_an_idle_engine_is_evicted_and_waited_for(machine: Machine) -> None:
    machine.has("old", 60)
    waiter = await machine.wants("new", 60)
    assert machine.evicted == ["old"] and not waiter.is_admitted
    await machine.end("old")
    assert waiter.is_admitted


async def test_an_engine_is_evicted_once_although_the_queue_is_reconsidered(machine: Machine) -> None:
    machine.has("old", 60)
    await machine.wants("new", 60)
    machine.queue.reconsider()
    machine.queue.reconsider()
    assert machine.evicted == ["old"]


async def test_first_come_first_served(machine: Machine) -> None:
    machine.has("old", 100, Use.BUSY)
    first, second = await machine.wants("first", 60), await machine.wants("second", 60)
    await machine.end("old")
    assert first.is_admitted and not second.is_admitted


async def test_several_models_are_admitted_together_if_they_fit(machine: Machine) -> None:
    machine.has("old", 100, Use.BUSY)
    waiters = [await machine.wants(name, 30) for name in "abc"]
    await machine.end("old")
    assert all(waiter.is_admitted for waiter in waiters)


async def test_a_model_that_fits_beside_a_waiting_one_overtakes_it(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY, machine.clock.now)
    large, small = await machine.wants("large", 80), await machine.wants("small", 20)
    assert small.is_admitted and not large.is_admitted


async def test_a_model_may_evict_idle_engines_before_a_waiting_one_only_for_some_seconds(machine: Machine) -> None:
    machine.has("busy", 60, Use.BUSY, machine.clock.now + 60)  # its turn has just begun
    machine.has("idle", 30)
    await machine.wants("large", 80)
    machine.clock.advance(OVERTAKING)
    late = await machine.wants("late", 30)
    assert not machine.evicted and not late.is_admitted
    await late.cancel()
    machine.clock.advance(-0.1)
    await machine.wants("early", 30)
    assert machine.evicted == ["idle"]


async def test_two_waiting_models_do_not_count_on_the_same_memory(machine: Machine) -> None:
    machine.has("one", 50)
    machine.has("other", 50)
    first, second = await machine.wants("first", 50), await machine.wants("second", 50)
    assert sorted(machine.evicted) == ["one", "other"]
    await machine.end("one")
    assert first.is_admitted and not second.is_admitted
    await machine.end("other")
    assert second.is_admitted


async def test_one_eviction_serves_every_model_that_fits_into_its_memory(machine: Machine) -> None:
    machine.has("old", 100)
    waiters = [await machine.wants(name, 50) for name in "ab"]
    assert machine.evicted == ["old"]
    await machine.end("old")
    assert all(waiter.is_admitted for waiter in waiters)


async def test_without_making_room_no_engine_is_evicted(machine: Machine) -> None:
    machine.has("old", 60)
    waiter = await machine.wants("new", 60, makes_room=False)
    assert not machine.evicted and not waiter.is_admitted
    [model] = machine.queue.waiting
    assert "no engine is stopped for it" in model.why


async def test_a_busy_engine_is_closed_when_its_turn_is_over(machine: Machine) -> None:
    machine.has("busy", 60, Use.BUSY, machine.clock.now)
    await machine.wants("new", 60)
    assert not machine.closed
    machine.clock.advance(SHORTEST_TURN)
    machine.queue.reconsider()
    assert machine.closed == ["busy"] and not machine.evicted
    machine.change("busy", use=Use.IDLE)
    assert machine.evicted == ["busy"]


async def test_the_end_of_a_turn_needs_no_other_event(machine: Machine) -> None:
    machine.has("busy", 60, Use.BUSY, machine.clock.now)
    machine.clock.advance(SHORTEST_TURN - 0.001)
    await machine.wants("new", 60)
    machine.clock.advance(0.001)
    await asyncio.wait_for(machine.queue.until(lambda: machine.closed), DEADLINE)


async def test_a_closed_engine_is_opened_again_when_its_waiter_leaves(machine: Machine) -> None:
    machine.has("busy", 60, Use.BUSY)
    waiter = await machine.wants("new", 60)
    assert machine.closed == ["busy"]
    await waiter.cancel()
    assert not machine.closed


async def test_a_client_that_leaves_lets_the_next_one_pass(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    first = await machine.wants("first", 100)
    machine.clock.advance(OVERTAKING)
    second = await machine.wants("second", 30)
    assert not second.is_admitted  # by now all memory is reserved for the first one
    await first.cancel()
    assert second.is_admitted


async def test_memory_is_reserved_until_the_engine_is_added(machine: Machine) -> None:
    async with machine.queue.admitted("new", Amount(60), makes_room=True):
        assert machine.queue.free == Amount(40)
        assert not (await machine.wants("other", 60)).is_admitted


async def test_an_error_gives_the_reservation_back(machine: Machine) -> None:
    with pytest.raises(OSError):
        async with machine.queue.admitted("new", Amount(60), makes_room=True):
            raise OSError
    assert machine.queue.free == Amount(100)


async def test_a_model_that_never_fits_is_refused_with_the_setting_that_would_help(machine: Machine) -> None:
    with pytest.raises(InsufficientMemoryError, match="it needs 101 B, and models may take 100 B") as refused:
        machine.queue.check_possible("big", Amount(101))
    assert refused.value.resolution_steps[-1] == "Set default_max_memory_mb to 1 or more."


async def test_more_of_the_machines_memory_helps_no_model_that_does_not_fit_on_the_gpu(machine: Machine) -> None:
    with pytest.raises(InsufficientMemoryError) as refused:
        machine.queue.check_possible("big", Amount(10, 1))
    assert refused.value.resolution_steps[-1] == "Put fewer layers on the GPU (num_gpu)."


async def test_a_model_that_does_not_fit_beside_pinned_ones_is_refused(machine: Machine) -> None:
    machine.has("pinned", 60, pinned=True)
    machine.queue.check_possible("small", Amount(40))
    with pytest.raises(InsufficientMemoryError, match="of which pinned models take 60 B") as refused:
        machine.queue.check_possible("big", Amount(41))
    assert "unpin a model" in refused.value.resolution_steps[-1]


async def test_a_waiting_model_is_refused_when_another_one_is_pinned_meanwhile(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    waiter = await machine.wants("new", 60)
    machine.change("old", pinned=True)
    await settled()
    assert waiter.refusal and "pinned models take 60 B" in waiter.refusal.message
    assert not machine.waiting


async def test_a_waiting_model_is_refused_when_the_budget_shrinks_below_it(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    waiter = await machine.wants("new", 60)
    machine.budget = Amount(50)
    machine.queue.reconsider()
    await settled()
    assert waiter.refusal and "models may take 50 B" in waiter.refusal.message


async def test_a_larger_budget_admits_what_waits(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    waiter = await machine.wants("new", 60)
    machine.budget = Amount(120)
    machine.queue.reconsider()
    await settled()
    assert waiter.is_admitted


async def test_the_end_ends_every_wait_and_reserves_nothing(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    waiters = [await machine.wants(name, 60) for name in "ab"]
    machine.queue.end()
    await asyncio.wait_for(asyncio.gather(*(waiter.task for waiter in waiters)), DEADLINE)
    async with asyncio.timeout(1), machine.queue.admitted("late", Amount(60), makes_room=True):
        pass
    assert not machine.waiting and not machine.evicted


async def test_a_waiting_model_is_shown_with_its_time_and_reason(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY)
    await machine.wants("new", 70)
    machine.clock.advance(3.0)
    [model] = machine.queue.waiting
    assert (model.name, model.needs, model.seconds) == ("new", Amount(70), 3.0)
    assert model.why == "old must finish earlier requests"


async def test_a_model_fits_now_only_if_no_other_waits_in_front(machine: Machine) -> None:
    machine.has("old", 60, Use.BUSY, machine.clock.now)
    assert machine.queue.fits_now(Amount(40)) and not machine.queue.fits_now(Amount(41))
    await machine.wants("large", 80)
    assert not machine.queue.fits_now(Amount(1))


async def test_memory_of_gpus_has_its_own_limit(machine: Machine) -> None:
    machine.budget = Amount(100, 50)
    machine.engines["old"] = Resident(id=1, name="old", needs=Amount(10, 40), use=Use.BUSY)
    assert machine.queue.free == Amount(90, 10)
    assert machine.queue.fits_now(Amount(90, 10)) and not machine.queue.fits_now(Amount(1, 11))


async def test_until_returns_at_the_change_that_makes_it_true(machine: Machine) -> None:
    machine.has("old", 60)
    gone = asyncio.create_task(machine.queue.until(lambda: not machine.engines))
    await settled()
    assert not gone.done()
    await machine.end("old")
    assert gone.done()
