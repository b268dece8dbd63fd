"""Where a model's parts lie, and whether they fit there. Pure.

Ways to place it, the fastest first: all on one GPU, on all GPUs; the experts of some layers on the CPU; some layers on
the CPU; all of it. Sources: what `common/fit.cpp` of llama.cpp tries, in which order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from oprel.telemetry.memory import kv_cache
from oprel.telemetry.memory.estimator import EVERY_ENGINE, MIB, Estimate, ModelFootprint, estimate
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.settings import FitLevel, PlanConstraints, Setting, settings_of

AMPLE_SHARE = 0.75  # of the memory, that more than usual may take: another model should find room beside it
FEWEST_ON_GPU = 0.15  # of the layers: with fewer there, answers are hardly faster than from the CPU alone
MOST_CACHE_RAM = 512 * MIB  # for the states of prompts that are in no slot
MOST_CHECKPOINTS, CHECKPOINTS_RAM = 8, 512 * MIB


class PlacementKind(IntEnum):
    """The fastest first."""

    GPU = 0
    EXPERTS_ON_CPU = 1
    MOSTLY_GPU = 2
    PARTLY_GPU = 3
    CPU = 4


@dataclass(frozen=True)
class PlacementInput:
    """A model to place. `projector` is what reading images takes, `adapters` what LoRAs do; bytes.

    `compute_ratio` corrects the estimate of compute buffers, by what engines took before. `is_whole`: its engine does
    not share it between GPUs and the CPU.
    """

    anatomy: ModelFootprint
    projector: int = 0
    adapters: int = 0
    compute_ratio: float = 1.0
    is_whole: bool = False

    @property
    def blocks(self) -> int:
        return max(len(self.anatomy.weights.layers), self.anatomy.dims.blocks)


@dataclass(frozen=True)
class Placement:
    """`devices` are numbers of the budgets' GPUs that take part. `gpu_layers` counts as `-ngl` does, the output as one.

    `cpu_experts`: of how many layers, from the first, the experts lie on the CPU.
    """

    where: PlacementKind
    devices: tuple[int, ...] = ()
    split: tuple[float, ...] = ()
    gpu_layers: int = 0
    cpu_experts: int = 0


@dataclass(frozen=True)
class Solution:
    """A setting in its place, and what that takes; bytes. `needs` is for each of the placement's devices.

    `checkpoints` are kept of each slot's state, for models that cannot go back; `cache_ram` of prompts without a slot.
    """

    setting: Setting
    placement: Placement
    estimate: Estimate
    needs: tuple[int, ...]
    host_needs: int
    cache_ram: int
    checkpoints: int

    @property
    def wishes(self) -> LoadShape:
        """As the engine's own options."""
        place = self.placement
        return self.setting.wishes(place.gpu_layers, place.split, place.cpu_experts)

    @property
    def total(self) -> int:
        return sum(self.needs) + self.host_needs

    def fits(self, budgets: Budgets) -> bool:
        if budgets.shared and self.total > budgets.host:
            return False
        return self.host_needs <= budgets.host and self.fits_devices(budgets)

    def fits_devices(self, budgets: Budgets) -> bool:
        devices = (budgets.devices[device] for device in self.placement.devices)
        return all(map(int.__le__, self.needs, devices))


def solutions(subject: PlacementInput, budgets: Budgets, asked: PlanConstraints) -> Iterator[Solution]:
    """Everything that fits and is as asked, in order of preference."""
    settings = [one for one in settings_for(subject, asked) if not refused(subject, one)]
    for ways in (_whole, _on_cpu) if subject.is_whole else (_whole, _experts, _partly, _on_cpu):
        yield from ways(subject, budgets, asked, settings)


def settings_for(subject: PlacementInput, asked: PlanConstraints) -> tuple[Setting, ...]:
    trained = subject.anatomy.dims.trained_context or None
    return settings_of(asked, trained, sees=bool(subject.projector))


def refused(subject: PlacementInput, setting: Setting) -> str | None:
    """Why engines do not start with such a cache."""
    return kv_cache.refusal(subject.anatomy.dims, setting.wishes())


def placed(subject: PlacementInput, setting: Setting, placement: Placement) -> Solution:
    """What that takes, whether it fits or not."""
    wishes = setting.wishes(placement.gpu_layers, placement.split, placement.cpu_experts)
    found = estimate(subject.anatomy, wishes)
    if subject.compute_ratio != 1.0:
        found = found.with_compute(subject.compute_ratio)
    cache_ram = max(MIB, min(MOST_CACHE_RAM, found.kv_bytes + found.state_bytes))
    checkpoints = _checkpoints(found)
    needs = [share.total for share in found.devices]
    host = found.host.total + EVERY_ENGINE + cache_ram + checkpoints * found.slots * found.checkpoint
    on_gpu = bool(needs) and not setting.projector_on_cpu
    if on_gpu:
        needs[0] += subject.projector + subject.adapters
    else:
        host += subject.projector + subject.adapters
    return Solution(setting, placement, found, tuple(needs), host, cache_ram, checkpoints)


def _checkpoints(found: Estimate) -> int:
    """At least one, for else a model with windows or states reads each prompt from its beginning."""
    if not found.checkpoint:
        return 0
    return max(1, min(MOST_CHECKPOINTS, CHECKPOINTS_RAM // (found.checkpoint * found.slots)))


def _whole(
    subject: PlacementInput, budgets: Budgets, asked: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    if not budgets.devices or asked.layers_on_gpu is not None:
        return
    ample = budgets.shrunk(AMPLE_SHARE)
    groups = _groups(budgets)

    def on(devices: tuple[int, ...], setting: Setting) -> Solution:
        return placed(subject, setting, _on(budgets, devices, PlacementKind.GPU, subject.blocks + 1))

    usual = _usual(settings)[:1]
    if any(on(groups[0], setting).fits(budgets) for setting in usual):
        groups = groups[:1]  # on as few as suffice: none is taken for the sake of more context
    for setting in settings:
        for devices in groups:
            found = on(devices, setting)
            if found.fits(ample if setting.comfort is FitLevel.AMPLE else budgets):
                yield found
                break


def _experts(
    subject: PlacementInput, budgets: Budgets, asked: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """The experts of as few layers as possible go to the CPU."""
    if not any(subject.anatomy.weights.experts) or not budgets.devices or asked.layers_on_gpu is not None:
        return
    devices = _groups(budgets)[-1]
    for setting in _usual(settings):

        def at(layers: int, setting: Setting = setting) -> Solution:
            place = _on(budgets, devices, PlacementKind.EXPERTS_ON_CPU, subject.blocks + 1, layers)
            return placed(subject, setting, place)

        if found := _first(range(1, subject.blocks + 1), at, budgets):
            yield found


def _partly(
    subject: PlacementInput, budgets: Budgets, asked: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """As many layers as fit lie on GPUs. One request at a time: the cache of more would push layers away."""
    if not budgets.devices or asked.layers_on_gpu == 0:
        return
    devices, blocks = _groups(budgets)[-1], subject.blocks
    least = max(1, round(FEWEST_ON_GPU * blocks))
    for setting in _usual(settings):
        if setting.slots > 1 and asked.slots is None and asked.layers_on_gpu is None:
            continue

        def at(layers: int, setting: Setting = setting) -> Solution:
            where = (
                PlacementKind.GPU
                if layers > blocks
                else PlacementKind.MOSTLY_GPU
                if 2 * layers > blocks
                else PlacementKind.PARTLY_GPU
            )
            return placed(subject, setting, _on(budgets, devices, where, layers))

        wanted = asked.layers_on_gpu
        numbers = range(blocks, least - 1, -1) if wanted is None else range(wanted, wanted + 1)
        if found := _first(numbers, at, budgets):
            yield found


def _on_cpu(
    subject: PlacementInput, budgets: Budgets, asked: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    if asked.layers_on_gpu and budgets.devices:
        return
    for setting in _usual(settings):
        found = placed(subject, setting, Placement(PlacementKind.CPU))
        if found.fits(budgets):
            yield found


def _usual(settings: Sequence[Setting]) -> list[Setting]:
    return [setting for setting in settings if setting.comfort is not FitLevel.AMPLE]


def _groups(budgets: Budgets) -> list[tuple[int, ...]]:
    """The GPU with most memory, then all of them."""
    best = max(range(len(budgets.devices)), key=budgets.devices.__getitem__)
    everyone = tuple(range(len(budgets.devices)))
    return list(dict.fromkeys([(best,), everyone]))


def _on(
    budgets: Budgets, devices: tuple[int, ...], where: PlacementKind, gpu_layers: int, cpu_experts: int = 0
) -> Placement:
    """Engines share layers among GPUs in proportion to what is free there."""
    split = tuple(float(budgets.devices[device] or 1) for device in devices)
    return Placement(where, devices, split, gpu_layers, cpu_experts)


def _first(numbers: range, at: Callable[[int], Solution], budgets: Budgets) -> Solution | None:
    """The first number with which the devices hold their part, as they do with all later ones; if the rest fits too."""
    low, high = 0, len(numbers)
    found = None
    while low < high:
        middle = (low + high) // 2
        if (tried := at(numbers[middle])).fits_devices(budgets):
            found, high = tried, middle
        else:
            low = middle + 1
    return found if found and found.fits(budgets) else None
