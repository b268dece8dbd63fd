from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.telemetry.hardware.devices import CPU, GPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.recommender.budgets import (
    Budgets,
    Reservation,
    budgets_of,
    limit_slack,
    steadied,
    unoccupied,
)

MIB, GIB = 1024**2, 1024**3
CARD = GPU(vendor="nvidia", name="a card", total_bytes=24 * GIB, free_bytes=20 * GIB)


def limit_of(size: int, free: int, *, each: bool = False) -> MemoryLimit:
    owner, setting = ("the process limit", "ulimit -v") if each else ("the control group", "memory.max")
    return MemoryLimit(owner=owner, setting=setting, limit_bytes=size, free_bytes=free, each=each)


def within(total: int, available: int, *limits: MemoryLimit) -> Hardware:
    return Hardware(CPU(), Memory.within(limits, total=total, available=available, swap=(0, 0)))


@pytest.mark.parametrize(
    ("available", "limit", "host"),
    [
        (64 * GIB, None, 64 * GIB - round(6.4 * GIB)),  # a tenth for other programs
        (8 * GIB, None, 7 * GIB),  # 1 GiB
        (64 * MIB, None, 56 * MIB),  # an eighth
        (64 * GIB, 32 * GIB, 31 * GIB),  # below a limit 1 GiB is enough
        (64 * GIB, 512 * MIB, 480 * MIB),  # or a sixteenth
        (64 * GIB, 64 * MIB, 60 * MIB),
        (2 * GIB, 32 * GIB, 2 * GIB - GIB // 4),  # others have taken what the limit would allow
    ],
)
def test_budgets_leave_slack(available: int, limit: int | None, host: int) -> None:
    found = budgets_of(within(64 * GIB, available, *([limit_of(limit, limit)] if limit else [])))
    assert found.host == host
    binds = limit is not None and limit < available
    assert found.limits == ((str(limit_of(limit or 0, 0)),) if binds else ())


def test_a_limit_of_each_process_bounds_one_engine_and_not_all() -> None:
    hardware = within(64 * GIB, 40 * GIB, limit_of(9 * GIB, 8 * GIB, each=True))
    found = budgets_of(hardware)
    assert (found.host, found.for_one) == (36 * GIB, 8 * GIB)
    assert found.limits == ("the process limit allows 9.7 GB for each process (ulimit -v)",)
    assert found.beside([Reservation(20 * GIB)]).for_one == 8 * GIB
    assert found.beside([Reservation(30 * GIB)]).for_one == 6 * GIB
    assert budgets_of(within(64 * GIB, 2 * GIB, limit_of(9 * GIB, 8 * GIB, each=True))).limits == ()


def test_a_budget_that_is_set_replaces_all_limits() -> None:
    hardware = within(64 * GIB, 40 * GIB, limit_of(4 * GIB, GIB), limit_of(9 * GIB, 8 * GIB, each=True))
    found = budgets_of(hardware, 10 * GIB)
    assert (found.host, found.for_one, found.limits) == (10 * GIB, 10 * GIB, ())


def test_what_engines_hold_counts_as_free() -> None:
    hardware = replace(within(64 * GIB, 30 * GIB, limit_of(16 * GIB, 6 * GIB)), gpus=(CARD,))
    found = unoccupied(hardware, Reservation(4 * GIB, {0: 3 * GIB}), [CARD])
    assert (found.memory.available_bytes, found.memory.machine_available_bytes) == (10 * GIB, 34 * GIB)
    assert found.gpus[0].free_bytes == 23 * GIB
    all_of_it = unoccupied(hardware, Reservation(99 * GIB, {0: 99 * GIB}), [CARD])
    assert (all_of_it.memory.available_bytes, all_of_it.gpus[0].free_bytes) == (16 * GIB, 24 * GIB)


def test_a_described_machine_with_a_limit_never_has_more_than_that() -> None:
    memory = Memory(total_bytes=32 * GIB, available_bytes=6 * GIB, limit_bytes=8 * GIB)
    assert memory.without(GIB).available_bytes == 7 * GIB
    assert memory.without(99 * GIB).available_bytes == 8 * GIB


GPUS = Budgets(host=32 * GIB, gpus=(CARD,), devices=(20 * GIB,), limits=("before",))


@pytest.mark.parametrize(
    ("now", "host", "limits"),
    [
        (32 * GIB - 500 * MIB, 32 * GIB, ("before",)),
        (32 * GIB + 500 * MIB, 32 * GIB, ("before",)),
        (30 * GIB, 30 * GIB, ("now",)),
        (34 * GIB, 34 * GIB, ("now",)),
        (GIB, GIB, ("now",)),
    ],
)
def test_budgets_stay_while_engines_run_and_little_changes(now: int, host: int, limits: tuple[str, ...]) -> None:
    found = steadied(GPUS, replace(GPUS, host=now, limits=("now",)))
    assert (found.host, found.limits) == (host, limits)


def test_engines_that_run_keep_the_gpus_that_they_know_by_number() -> None:
    other = replace(CARD, vendor="amd", index=0)
    assert steadied(GPUS, replace(GPUS, devices=(8 * GIB,))).devices == (8 * GIB,)
    assert steadied(GPUS, replace(GPUS, devices=(8 * GIB,)), devices=False).devices == (20 * GIB,)
    changed = steadied(GPUS, replace(GPUS, gpus=(other, CARD), devices=(1, 2)))
    assert (changed.gpus, changed.devices) == (GPUS.gpus, GPUS.devices)
    shared = replace(GPUS, shared=True)
    assert steadied(shared, replace(shared, host=8 * GIB), devices=False).host == 32 * GIB


sizes = st.integers(0, 2**42)
limits = st.builds(lambda size, free, each: limit_of(size, min(size, free), each=each), sizes, sizes, st.booleans())
machines = st.builds(
    lambda total, available, limits: within(total, min(total, available), *limits), sizes, sizes, st.lists(limits)
)


@given(hardware=machines, held=sizes, more=sizes)
def test_budgets_are_never_negative_and_never_above_a_limit(hardware: Hardware, held: int, more: int) -> None:
    free = unoccupied(hardware, Reservation(held), ()).memory
    found = budgets_of(replace(hardware, memory=free))
    assert 0 <= found.for_one <= found.host <= free.available_bytes <= free.usable_bytes
    assert free.available_bytes >= hardware.memory.available_bytes
    assert all(found.host <= limit.free_bytes <= limit.limit_bytes for limit in free.shared_limits)
    assert all(found.for_one <= limit.free_bytes for limit in free.process_limits)
    assert budgets_of(unoccupied(hardware, Reservation(held + more), ())).host >= found.host


@given(before=sizes, now=sizes)
def test_steady_budgets_leave_half_of_the_slack(before: int, now: int) -> None:
    found = steadied(Budgets(host=before), Budgets(host=now)).host
    assert found in (before, now) and found <= now + limit_slack(now) / 2
