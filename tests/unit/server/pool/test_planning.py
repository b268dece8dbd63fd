"""What the planner knows of the machine while engines run."""

from dataclasses import replace

import pytest

from oprel.core.exceptions import DownloadError
from oprel.core.variants import RepoFile, Variant
from oprel.downloader.offers import Repository
from oprel.formats.gguf import GGUFFile
from oprel.server.pool import planning
from oprel.server.pool.planning import Planning
from oprel.telemetry.hardware.devices import CPU, GPU, Memory, MemoryLimit
from oprel.telemetry.hardware.listed import ListedDevice
from oprel.telemetry.hardware.probing import Hardware
from oprel.telemetry.recommender.placement import PlacementKind
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


# The engine's own devices

CARD = ListedDevice("Vulkan0", "a card", 4 * GIB, 3 * GIB)


class Lister:
    """Has the engine list these devices, and counts how often it is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pool: MemoryPool, *devices: ListedDevice) -> None:
        self.devices = devices
        monkeypatch.setattr(pool.manager.binaries, "devices", self)

    async def __call__(self, *, wheel_too: bool) -> tuple[ListedDevice, ...]:
        return self.devices


async def test_what_the_engine_lists_is_planned_with(
    pool: MemoryPool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lister(monkeypatch, pool, CARD)
    found = planner(pool)
    assert not found.budgets.devices
    await found.look_around([])
    assert found.budgets.devices == (2 * GIB,) and found.hardware.gpus[0].device == "Vulkan0"
    assert found.plan(A, PlanConstraints()).solution.placement.kind is PlacementKind.GPU
    found.close()


async def test_on_a_gpu_that_the_engine_does_not_see_nothing_is_planned(
    pool: MemoryPool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, gpu = machine.probe, GPU(vendor="nvidia", name="a GPU", total_bytes=24 * GIB, free_bytes=24 * GIB)
    monkeypatch.setattr(planning, "probe", lambda: replace(probe(), gpus=(gpu,)))
    Lister(monkeypatch, pool)
    found = planner(pool)
    await found.look_around([])
    assert not found.budgets.devices and found.machine.devices  # another engine may use it
    assert found.plan(A, PlanConstraints(layers_on_gpu=99)).solution.placement.kind is PlacementKind.CPU
    found.close()


async def test_what_engines_hold_of_a_listed_device_counts_as_free(
    pool: MemoryPool, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lister = Lister(monkeypatch, pool, CARD)
    found = planner(pool)
    await found.look_around([])
    loaded = await pool.load(A)
    plan = found.plan(A, PlanConstraints(context=512, slots=1))
    loaded.decision = loaded.decision.with_plan(plan)
    lister.devices = (replace(CARD, free_bytes=CARD.free_bytes - sum(plan.solution.needs)),)
    await found.look_around([loaded])
    assert found.budgets.devices == (2 * GIB,)
    found.close()


async def test_of_a_repository_whose_headers_cannot_be_read_the_usual_variant_is_chosen(pool: MemoryPool) -> None:
    def read(variant: Variant) -> GGUFFile:
        raise DownloadError("no answer")

    variants = tuple(Variant(label, (RepoFile(f"m-{label}.gguf", 1),)) for label in ("Q8_0", "Q4_K_M"))
    chooser = planner(pool)
    assert chooser.choose(Repository("org/repo", variants, read)).label == "Q4_K_M"
    chooser.close()
