"""Where the parts of a model are placed, and whether they fit there. Pure.

The ways to place it, fastest first: whole on one GPU, whole on all GPUs; experts of some layers on the CPU; some layers
on the CPU; all of it on the CPU. Source: the order in which `common/fit.cpp` of llama.cpp tries them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from oprel.telemetry.memory import kv_cache
from oprel.telemetry.memory.corrections import NONE, Corrections
from oprel.telemetry.memory.estimator import Estimate, ModelFootprint, estimate
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.process import WHEEL, Program
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.cache_pool import CachePool, largest_pool, least_pool
from oprel.telemetry.recommender.settings import FitLevel, PlanConstraints, Setting, settings_of

# Settings beyond the usual on a CPU: of the machine's memory, as other programs need it too, and in tokens, as reading
# more takes many minutes. A model without a cache has any context for nothing.
AMPLE_SHARE_ON_CPU, AMPLE_CONTEXT_ON_CPU = 0.5, 32_768
FEWEST_ON_GPU = 0.15  # of the layers: with fewer on the GPU, answers are hardly faster than from the CPU alone


class PlacementKind(IntEnum):
    """Ways to place a model, fastest first."""

    GPU = 0
    EXPERTS_ON_CPU = 1
    MOSTLY_GPU = 2
    PARTLY_GPU = 3
    CPU = 4


@dataclass(frozen=True, kw_only=True)
class PlacementInput:
    """A model to place. `projector` and `adapters` are the bytes that image input and LoRA adapters need.

    `corrections` are of the estimated memory, by what engines really used before. `program` is the engine. `is_whole`:
    it cannot split the model between GPUs and the CPU.
    """

    footprint: ModelFootprint
    projector: int = 0
    adapters: int = 0
    corrections: Corrections = NONE
    program: Program = WHEEL
    is_whole: bool = False

    @property
    def blocks(self) -> int:
        """Layers of the model, without the output layer."""
        return max(len(self.footprint.weights.layers), self.footprint.dims.blocks)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which GPUs hold which share of a model.

    `devices` are indices in `Budgets.gpus`, `split` their proportions. `gpu_layers` counts as `-ngl` does, the output
    layer included. The experts of the first `cpu_experts` layers stay on the CPU.
    """

    kind: PlacementKind
    devices: tuple[int, ...] = ()
    split: tuple[float, ...] = ()
    gpu_layers: int = 0
    cpu_experts: int = 0


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A setting with a placement, and the memory it needs in bytes: `needs` for each of the placement's devices.

    `extras`: what a projector and adapters take of the machine's memory. `pool` is for conversations without a slot.
    `measured`: the most that an engine took before for this setting, without such conversations; 0 if unknown.
    """

    setting: Setting
    placement: Placement
    estimate: Estimate
    needs: tuple[int, ...]
    extras: int
    pool: CachePool
    measured: int = 0

    @property
    def load_shape(self) -> LoadShape:
        """The engine options that this solution stands for."""
        placement = self.placement
        return self.setting.load_shape(placement.gpu_layers, placement.split, placement.cpu_experts)

    @property
    def host_needs(self) -> int:
        """Bytes of the machine's memory that the engine can be made to take: what is reserved for it."""
        return self.estimate.host_total + self.extras + self.margin + self.pool.reserved

    @property
    def margin(self) -> int:
        """Bytes by which the estimate may be too small, or was too small before."""
        return max(self.estimate.uncertainty, self.measured - self.estimate.host_total - self.extras)

    @property
    def host_expected(self) -> int:
        """Bytes of the machine's memory that the engine takes when every slot is busy."""
        return self.estimate.host_total + self.extras + self.pool.expected

    @property
    def total(self) -> int:
        """Bytes reserved on all devices and the host together."""
        return sum(self.needs) + self.host_needs

    @property
    def expected(self) -> int:
        """Bytes that the engine takes on all devices and the host together when every slot is busy."""
        return sum(self.needs) + self.host_expected

    def fits(self, budgets: Budgets) -> bool:
        """Whether the host and every device have enough memory."""
        if budgets.shared and self.total > budgets.for_one:
            return False
        return self.host_needs <= budgets.for_one and self.fits_devices(budgets)

    def fits_devices(self, budgets: Budgets) -> bool:
        """Whether every device of the placement has enough memory, whatever the host has."""
        devices = (budgets.devices[device] for device in self.placement.devices)
        return all(map(int.__le__, self.needs, devices))


def solutions(model: PlacementInput, budgets: Budgets, constraints: PlanConstraints) -> Iterator[Solution]:
    """Every solution within `budgets` and `constraints`, in order of preference."""
    settings = [setting for setting in settings_for(model, constraints) if not refused(model, setting)]
    for way in (_whole, _on_cpu) if model.is_whole else (_whole, _experts, _partly, _on_cpu):
        for solution in way(model, budgets, constraints, settings):
            yield solution if model.is_whole else with_pool(solution, budgets)


def with_pool(solution: Solution, budgets: Budgets) -> Solution:
    """The solution with as large a pool as the budgets spare: it is given up first. Only llama.cpp has one."""
    if solution.setting.embedding:
        return solution
    bare = replace(solution, pool=least_pool(solution.estimate))
    needs = bare.total if budgets.shared else bare.host_needs
    spare = budgets.shrunk(_share(solution)).for_one - needs
    return replace(solution, pool=largest_pool(solution.estimate, spare))


def _share(solution: Solution) -> float:
    """How much of the budgets the solution may take."""
    setting, is_on_cpu = solution.setting, solution.placement.kind is PlacementKind.CPU
    is_ample = setting.fit_level is FitLevel.AMPLE and solution.estimate.kv_bytes > 0
    return min(setting.share, AMPLE_SHARE_ON_CPU) if is_ample and is_on_cpu else setting.share


def settings_for(model: PlacementInput, constraints: PlanConstraints) -> tuple[Setting, ...]:
    """Every setting of `model` within `constraints`, best first."""
    trained = model.footprint.dims.trained_context or None
    return settings_of(constraints, trained, sees=bool(model.projector))


def refused(model: PlacementInput, setting: Setting) -> str | None:
    """Why engines refuse to start with this KV cache; None if they start."""
    return kv_cache.refusal(model.footprint.dims, setting.load_shape())


def placed(model: PlacementInput, setting: Setting, placement: Placement) -> Solution:
    """The memory that this placement needs, whether it fits or not."""
    shape = setting.load_shape(placement.gpu_layers, placement.split, placement.cpu_experts)
    memory = estimate(model.footprint, shape, model.program).corrected(model.corrections)
    needs = [share.total for share in memory.devices]
    extras = model.projector + model.adapters
    if needs and not setting.projector_on_cpu:
        needs[0] += extras
        extras = 0
    return Solution(
        setting=setting,
        placement=placement,
        estimate=memory,
        needs=tuple(needs),
        extras=extras,
        pool=least_pool(memory),
        measured=model.corrections.peak_of(shape),
    )


def _whole(
    model: PlacementInput, budgets: Budgets, constraints: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """The whole model on GPUs."""
    if not budgets.devices or constraints.layers_on_gpu is not None:
        return
    groups = _groups(budgets)

    def on(devices: tuple[int, ...], setting: Setting) -> Solution:
        return placed(model, setting, _on(budgets, devices, PlacementKind.GPU, model.blocks + 1))

    usual = [setting for setting in _usual(settings) if setting.share == 1.0][:1]
    if any(on(groups[0], setting).fits(budgets) for setting in usual):
        groups = groups[:1]  # as few GPUs as suffice: more context alone does not justify another GPU
    for setting in settings:
        for devices in groups:
            solution = on(devices, setting)
            if solution.fits(budgets.shrunk(setting.share)):
                yield solution
                break


def _experts(
    model: PlacementInput, budgets: Budgets, constraints: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """The experts of as few layers as possible on the CPU."""
    if not any(model.footprint.weights.experts) or not budgets.devices or constraints.layers_on_gpu is not None:
        return
    devices = _groups(budgets)[-1]
    for setting in _usual(settings):

        def at(layers: int, setting: Setting = setting) -> Solution:
            placement = _on(budgets, devices, PlacementKind.EXPERTS_ON_CPU, model.blocks + 1, layers)
            return placed(model, setting, placement)

        if solution := _first(range(1, model.blocks + 1), at, budgets.shrunk(setting.share)):
            yield solution


def _partly(
    model: PlacementInput, budgets: Budgets, constraints: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """As many layers on GPUs as fit, with one request at a time: the cache of more would displace layers."""
    if not budgets.devices or constraints.layers_on_gpu == 0:
        return
    devices, blocks = _groups(budgets)[-1], model.blocks
    least = max(1, round(FEWEST_ON_GPU * blocks))
    for setting in _usual(settings):
        if setting.slots > 1 and constraints.slots is None and constraints.layers_on_gpu is None:
            continue

        def at(layers: int, setting: Setting = setting) -> Solution:
            return placed(model, setting, _on(budgets, devices, _kind_of(layers, blocks), layers))

        fixed = constraints.layers_on_gpu
        numbers = range(blocks, least - 1, -1) if fixed is None else range(fixed, fixed + 1)
        if solution := _first(numbers, at, budgets.shrunk(setting.share)):
            yield solution


def _kind_of(layers: int, blocks: int) -> PlacementKind:
    if layers > blocks:
        return PlacementKind.GPU
    return PlacementKind.MOSTLY_GPU if 2 * layers > blocks else PlacementKind.PARTLY_GPU


def _on_cpu(
    model: PlacementInput, budgets: Budgets, constraints: PlanConstraints, settings: Sequence[Setting]
) -> Iterator[Solution]:
    """The whole model on the CPU."""
    if constraints.layers_on_gpu and budgets.devices:
        return
    for setting in settings:
        solution = placed(model, setting, Placement(kind=PlacementKind.CPU))
        is_read_in_time = setting.context <= AMPLE_CONTEXT_ON_CPU or setting.fit_level is not FitLevel.AMPLE
        if (is_read_in_time or not solution.estimate.kv_bytes) and solution.fits(budgets.shrunk(_share(solution))):
            yield solution


def _usual(settings: Sequence[Setting]) -> list[Setting]:
    return [setting for setting in settings if setting.fit_level is not FitLevel.AMPLE]


def _groups(budgets: Budgets) -> list[tuple[int, ...]]:
    """The GPU with most memory, then all GPUs."""
    best = max(range(len(budgets.devices)), key=budgets.devices.__getitem__)
    every = tuple(range(len(budgets.devices)))
    return list(dict.fromkeys([(best,), every]))


def _on(
    budgets: Budgets, devices: tuple[int, ...], kind: PlacementKind, gpu_layers: int, cpu_experts: int = 0
) -> Placement:
    """A placement that splits layers in proportion to the budget of each GPU, as engines do by free memory."""
    split = tuple(float(budgets.devices[device] or 1) for device in devices)
    return Placement(kind=kind, devices=devices, split=split, gpu_layers=gpu_layers, cpu_experts=cpu_experts)


def _first(numbers: range, at: Callable[[int], Solution], budgets: Budgets) -> Solution | None:
    """The solution at the first number that fits the devices, if the host memory suffices for it too.

    Binary search: from that number on, all later ones fit the devices as well.
    """
    low, high = 0, len(numbers)
    first = None
    while low < high:
        middle = (low + high) // 2
        if (tried := at(numbers[middle])).fits_devices(budgets):
            first, high = tried, middle
        else:
            low = middle + 1
    return first if first and first.fits(budgets) else None
