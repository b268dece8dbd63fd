"""What the planner knows of the machine while engines run."""

from dataclasses import replace

import pytest

from oprel.server.pool import planning
from oprel.server.pool.planning import Planning
from oprel.telemetry.hardware.devices import CPU, Memory, MemoryLimit
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.recommender.settings import PlanConstraints
from tests.fixtures.pool import MIB, MakePool, MemoryPool, installed

GIB = 1024**3
A, B = installed("a"), installed("b")


class Machine:
    """The machine of a planner: what it has free, the limit of its control group, and what engines hold of both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.limit, self.used, self.held = 40 * GIB, 16 * GIB, 0, 0
        monkeypatch.setattr(planning, "probe", self.probe)
        monkeypatch.setattr(planning, "private_bytes", lambda leaders: self.held if leaders else 0)

    def probe(self) -> Hardware:
        free = max(0, self.limit - self.used - self.held)
        group = MemoryLimit(owner="the group", setting="memory.max", limit_bytes=self.limit, free_bytes=free)
        return Hardware(CPU(), Memory.within((group,), total=64 * GIB, available=self.free - self.held, swap=(0, 0)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def planner(pool: MemoryPool) -> Planning:
    return Planning(pool.manager.config.replace(default_max_memory_mb=0), pool.manager.binaries)


async def test_budgets_follow_other_programs_and_limits_while_engines_run(pool: MemoryPool, machine: Machine) -> None:
    await pool.load(A)
    found = planner(pool)
    assert found.machine.host == 15 * GIB and found.machine.limits == ("the group allows 17 GB (memory.max)",)
    machine.held = 5 * GIB  # by the engine that runs
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 15 * GIB
    machine.used = 6 * GIB  # by other programs in the group
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 10 * GIB - 10 * GIB // 16
    machine.limit = 12 * GIB
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 6 * GIB - 6 * GIB // 16
    machine.limit, machine.used, machine.free = 16 * GIB, 0, 9 * GIB
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 8 * GIB and not found.machine.limits
    found.close()


async def test_a_small_change_counts_once_no_engine_runs(pool: MemoryPool, machine: Machine) -> None:
    await pool.load(A)
    found = planner(pool)
    machine.used = 300 * MIB
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 15 * GIB
    await found.look_around([])
    assert found.machine.host == (16 * GIB - 300 * MIB) * 15 // 16
    found.close()


async def test_a_set_budget_does_not_follow(pool: MemoryPool, machine: Machine) -> None:
    await pool.load(A)
    found = Planning(pool.manager.config.replace(default_max_memory_mb=1000), pool.manager.binaries)
    machine.used = 15 * GIB
    await found.look_around(pool.manager.loaded)
    assert found.machine.host == 1000 * MIB and found.machine.limits == ()
    found.close()


async def test_memory_of_gpus_is_given_back_by_engines_that_are_ready(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = make_pool(hardware="nvidia-24gb", default_max_memory_mb=0)
    described = pool.manager.planning.hardware
    (card,) = described.gpus
    monkeypatch.setattr(planning, "probe", lambda: described)
    found = planner(pool)
    alone = found.machine.devices[0]
    await pool.load(A)
    taken = pool.loaded("a").decision.on_gpus[0]
    monkeypatch.setattr(
        planning, "probe", lambda: replace(described, gpus=(replace(card, free_bytes=card.free_bytes - taken),))
    )
    await found.look_around(pool.manager.loaded)
    assert taken > 1000 * MIB and found.machine.devices == (alone,)
    await found.look_around([])
    assert found.machine.devices == (alone - taken,)
    found.close()


async def test_a_refusal_names_the_limit(pool: MemoryPool, machine: Machine) -> None:
    machine.limit = GIB // 2
    found = planner(pool)
    plan = found.plan(A, PlanConstraints(context=512))
    assert plan.refusal.endswith("503 MB of the machine's may be taken: the group allows 537 MB (memory.max)")
    found.close()
