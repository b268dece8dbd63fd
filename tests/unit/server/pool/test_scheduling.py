"""Who may load and who goes, as data: histories of events in, decisions out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oprel.server.pool import scheduling
from oprel.server.pool.scheduling import (
    LOADS_A_TURN,
    OVERTAKING,
    SHORTEST_TURN,
    Amount,
    Resident,
    SchedulingDecision,
    Use,
    Wanted,
)


def decide(residents: Sequence[Resident], wanted: Sequence[Wanted], budget: int, now: float) -> SchedulingDecision:
    return scheduling.decide(residents, wanted, Amount(budget), now)


def impossible(needs: int, residents: Sequence[Resident], budget: int) -> str | None:
    return scheduling.impossible(Amount(needs), residents, Amount(budget))


def idle(id: int, bytes: int, **others: object) -> Resident:
    return Resident(id=id, name=f"m{id}", needs=Amount(bytes), use=Use.IDLE, **others)  # type: ignore[arg-type]


def busy(id: int, bytes: int, **others: object) -> Resident:
    return Resident(id=id, name=f"m{id}", needs=Amount(bytes), use=Use.BUSY, **others)  # type: ignore[arg-type]


def wanted(id: int, bytes: int, since: float = 0.0, **others: object) -> Wanted:
    return Wanted(id=id, name=f"m{id}", needs=Amount(bytes), since=since, **others)  # type: ignore[arg-type]


def test_what_fits_loads_at_once_and_side_by_side() -> None:
    assert decide([idle(1, 40)], [wanted(2, 30), wanted(3, 30)], 100, 0.0).admit == [2, 3]


def test_what_does_not_fit_evicts_no_more_than_it_needs() -> None:
    residents = [idle(1, 10, used_at=1.0), idle(2, 50, used_at=2.0), idle(3, 40, used_at=3.0)]
    assert set(decide(residents, [wanted(4, 45)], 100, 9.0).evict) == {2}


def test_the_one_that_is_cheap_to_bring_back_and_long_unused_goes_first() -> None:
    slow, fast = idle(1, 50, load_seconds=60.0), idle(2, 50, load_seconds=1.0)
    assert list(decide([slow, fast], [wanted(3, 50)], 100, 10.0).evict) == [2]
    old, new = idle(1, 50, load_seconds=5.0, used_at=0.0), idle(2, 50, load_seconds=5.0, used_at=90.0)
    assert list(decide([old, new], [wanted(3, 50)], 100, 100.0).evict) == [1]


def test_a_reason_is_given_for_every_eviction_and_every_wait() -> None:
    plan = decide([idle(1, 60), busy(2, 40, ready_at=0.0)], [wanted(3, 50), wanted(4, 40)], 100, 10.0)
    assert "m3 needs 50 B" in plan.evict[1] and plan.waits.keys() == {3, 4}


@pytest.mark.parametrize("use", [Use.LOADING, Use.BUSY, Use.LEAVING])
def test_only_an_idle_engine_is_evicted(use: Use) -> None:
    assert not decide([Resident(id=1, name="m1", needs=Amount(100), use=use)], [wanted(2, 50)], 100, 100.0).evict


def test_a_pinned_engine_stays() -> None:
    plan = decide([idle(1, 60, pinned=True), idle(2, 40)], [wanted(3, 50)], 100, 100.0)
    assert not plan.evict and not plan.admit


def test_a_busy_engine_takes_no_more_requests_once_its_turn_is_over() -> None:
    engine = busy(1, 100, ready_at=10.0, load_seconds=3.0)
    turn = LOADS_A_TURN * 3.0
    before = decide([engine], [wanted(2, 50)], 100, 10.0 + turn - 0.1)
    assert not before.close and before.look_again == 10.0 + turn
    assert decide([engine], [wanted(2, 50)], 100, 10.0 + turn).close == {1}


def test_a_short_load_still_gives_a_whole_turn() -> None:
    assert busy(1, 1, ready_at=5.0).turn_ends() == 5.0 + SHORTEST_TURN


def test_idle_engines_stay_until_the_busy_ones_that_must_go_too_are_done() -> None:
    plan = decide([idle(1, 50), busy(2, 50)], [wanted(3, 100)], 100, 100.0)
    assert plan.close == {2} and not plan.evict


def test_who_fits_beside_all_promises_is_not_kept_waiting() -> None:
    residents = [busy(1, 70), busy(2, 10)]
    assert decide(residents, [wanted(3, 80), wanted(4, 10)], 100, 100.0).admit == [4]
    assert decide(residents, [wanted(3, 90), wanted(4, 20)], 100, 100.0).admit == []


def test_who_waits_for_a_busy_engine_is_overtaken_for_a_while_only() -> None:
    residents = [busy(1, 60), idle(2, 40)]
    big, small = wanted(3, 100, since=100.0), wanted(4, 30, since=100.0)
    assert list(decide(residents, [big, small], 100, 100.0 + OVERTAKING / 2).evict) == [2]
    assert not decide(residents, [big, small], 100, 100.0 + OVERTAKING).evict


def test_who_must_not_make_room_pushes_nobody_out() -> None:
    plan = decide([idle(1, 60)], [wanted(2, 50, makes_room=False)], 100, 100.0)
    assert not plan.evict and not plan.admit and plan.waits


def test_what_can_never_fit_is_told_with_the_pins_that_are_in_its_way() -> None:
    assert impossible(101, [], 100) == "it needs 101 B, and models may take 100 B"
    assert "pinned models take 60 B" in (impossible(50, [idle(1, 60, pinned=True)], 100) or "")
    assert impossible(100, [busy(1, 100)], 100) is None


def test_memory_of_gpus_is_kept_apart_from_the_machines() -> None:
    large = Resident(id=1, name="large", needs=Amount(10, 90), use=Use.IDLE, load_seconds=9.0)
    small = Resident(id=2, name="small", needs=Amount(60, 0), use=Use.IDLE)
    budget = Amount(100, 100)
    fits = Wanted(id=3, name="m3", needs=Amount(30, 10), since=0.0)
    assert scheduling.decide([large, small], [fits], budget, 9.0).admit == [3]
    on_gpu = Wanted(id=3, name="m3", needs=Amount(30, 20), since=0.0)
    assert list(scheduling.decide([large, small], [on_gpu], budget, 9.0).evict) == [1], "the other has none of that"
    on_both = Wanted(id=3, name="m3", needs=Amount(95, 20), since=0.0)
    assert set(scheduling.decide([large, small], [on_both], budget, 9.0).evict) == {1, 2}


BUDGET = 100
KINDS = dict(enumerate((10, 25, 40, 60, 75, 100)))


@dataclass
class World:
    """Engines and those who wait for them, with every decision carried out as the manager does."""

    now: float = 0.0
    engines: dict[int, Resident] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)
    wanted: dict[int, Wanted] = field(default_factory=dict)

    def act(self) -> SchedulingDecision:
        plan = decide(list(self.engines.values()), list(self.wanted.values()), BUDGET, self.now)
        for id in plan.admit:
            admitted = self.wanted.pop(id)
            self.engines[id] = Resident(id=id, name=admitted.name, needs=admitted.needs, use=Use.LOADING)
            self.leases[id] = 1  # of whoever waited for it
        for id in plan.evict:
            assert self.engines[id].use is Use.IDLE and not self.leases[id] and not self.engines[id].pinned
            self.change(id, use=Use.LEAVING)
        assert all(self.engines[id].use is Use.BUSY for id in plan.close)
        for id, one in list(self.engines.items()):
            self.engines[id] = replace(one, closed=id in plan.close)
        return plan

    def change(self, id: int, **changes: object) -> None:
        self.engines[id] = replace(self.engines[id], **changes)  # type: ignore[arg-type]

    def ids(self, use: Use) -> list[int]:
        return [id for id, one in self.engines.items() if one.use is use]

    def settle(self) -> None:
        """What was begun ends by itself: loads, stops, answers."""
        for id in self.ids(Use.LEAVING):
            del self.engines[id]
        for id in self.ids(Use.BUSY):
            self.leases[id] = 0
            self.change(id, use=Use.IDLE, used_at=self.now)
        for id in self.ids(Use.LOADING):
            self.change(id, use=Use.BUSY, ready_at=self.now)


class Scheduling(RuleBasedStateMachine):
    """Any order of events: the budget is kept, nobody busy or pinned is evicted, and who waits is served in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.number = 0

    @rule(kind=st.sampled_from(list(KINDS)), makes_room=st.booleans())
    def ask(self, kind: int, makes_room: bool) -> None:
        self.number += 1
        pinned = sum(one.needs.host for one in self.world.engines.values() if one.pinned)
        if KINDS[kind] <= BUDGET - pinned:
            self.world.wanted[self.number] = Wanted(
                id=self.number,
                name=f"m{kind}",
                needs=Amount(KINDS[kind]),
                since=self.world.now,
                makes_room=makes_room,
            )
        self.world.act()

    @precondition(lambda self: self.world.wanted)
    @rule(data=st.data())
    def give_up_waiting(self, data: st.DataObject) -> None:
        del self.world.wanted[data.draw(st.sampled_from(list(self.world.wanted)))]
        self.world.act()

    @precondition(lambda self: self.world.ids(Use.LOADING))
    @rule(data=st.data(), seconds=st.floats(0.1, 20.0))
    def become_ready(self, data: st.DataObject, seconds: float) -> None:
        id = data.draw(st.sampled_from(self.world.ids(Use.LOADING)))
        self.world.now += seconds
        self.world.change(id, use=Use.BUSY, ready_at=self.world.now, load_seconds=seconds)
        self.world.act()

    @precondition(lambda self: any(not one.closed for one in self.world.engines.values() if one.use is Use.IDLE))
    @rule(data=st.data())
    def lease_again(self, data: st.DataObject) -> None:
        engines = self.world.engines
        id = data.draw(st.sampled_from([id for id in self.world.ids(Use.IDLE) if not engines[id].closed]))
        self.world.leases[id] = 1
        self.world.change(id, use=Use.BUSY)
        self.world.act()

    @precondition(lambda self: self.world.ids(Use.BUSY))
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(self.world.ids(Use.BUSY)))
        self.world.leases[id] = 0
        self.world.change(id, use=Use.IDLE, used_at=self.world.now)
        self.world.act()

    @precondition(lambda self: self.world.ids(Use.LEAVING))
    @rule(data=st.data())
    def be_gone(self, data: st.DataObject) -> None:
        del self.world.engines[data.draw(st.sampled_from(self.world.ids(Use.LEAVING)))]
        self.world.act()

    @rule(seconds=st.floats(0.0, 30.0))
    def wait(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.act()

    @precondition(lambda self: sum(one.needs.host for one in self.world.engines.values()) <= BUDGET / 2)
    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        if not self.world.wanted and self.world.engines:
            self.world.change(data.draw(st.sampled_from(list(self.world.engines))), pinned=True)

    @invariant()
    def the_budget_is_kept(self) -> None:
        assert sum(one.needs.host for one in self.world.engines.values()) <= BUDGET

    @invariant()
    def an_engine_in_use_is_never_on_its_way_out(self) -> None:
        assert not any(self.world.leases[id] for id in self.world.ids(Use.LEAVING))

    def teardown(self) -> None:
        """Nobody asks any more, what runs ends: all that may make room are served."""
        for _ in range(4 * len(self.world.wanted) + 4):
            self.world.now += max(OVERTAKING, SHORTEST_TURN, LOADS_A_TURN * 20.0)
            self.world.settle()
            self.world.act()
        assert not [one for one in self.world.wanted.values() if one.makes_room], self.world


TestAnyHistory = Scheduling.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12))
def test_the_first_in_the_line_is_served_however_many_come_after_it(later: list[int]) -> None:
    """Each time an engine ends, another small one asks: the large one is not overtaken for ever."""
    world = World()
    world.engines[0] = Resident(id=0, name="m0", needs=Amount(60), use=Use.BUSY)
    world.leases[0] = 1
    world.wanted[1] = Wanted(id=1, name="large", needs=Amount(BUDGET), since=0.0)
    for number, kind in enumerate(later, start=2):
        world.now += OVERTAKING
        if kind < len(KINDS) - 1:
            world.wanted[number] = Wanted(id=number, name=f"m{kind}", needs=Amount(KINDS[kind]), since=world.now)
        world.act()
        world.settle()
    for _ in range(4):
        world.now += OVERTAKING
        world.act()
        if 1 not in world.wanted:
            return
        world.settle()
    raise AssertionError(world)


def test_time_alone_changes_a_decision_only_when_the_plan_says_so() -> None:
    residents = [busy(1, 100, ready_at=0.0, load_seconds=4.0)]
    plan = decide(residents, [wanted(2, 10)], 100, 1.0)
    assert 1.0 < plan.look_again < math.inf
    assert decide(residents, [wanted(2, 10)], 100, plan.look_again).close == {1}
