"""How to restart an engine that ran out of memory: the next plan that needs less. Pure.

What the user requested stays. What the planner chose is given up, in the planner's own order of preference.
"""

from collections.abc import Iterator
from dataclasses import replace

from oprel.telemetry.memory.load_shape import row_bytes
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.placement import Placement, PlacementKind, Solution, placed, solutions
from oprel.telemetry.recommender.planning import Plan

ELEMENTS = 32  # of a row, to compare types of the cache
SHARE = 0.9  # of the memory that did not suffice: what the next attempt may use
# The same for a GPU whose memory does not suffice: other programs use more of it than the driver says, no one knows
# how much, and each attempt takes as long as a load.
DEVICE_SHARES = (SHARE, 0.75, 0.5)


def less(before: Plan, *, at_load: bool = False, on_device: bool | None = None, steps: int = 0) -> Plan | None:
    """The best plan that needs clearly less than `before`, or else any less; None at the end.

    `at_load`: the engine ran out before its first request, so conversations that it would have saved do not count.
    `steps`: how many plans were tried already.

    Only the memory that ran out counts: that of GPUs if `on_device`, else the host's; None means that of GPUs while
    the plan uses any. A plan that left the GPUs does not return to them.
    """
    on_gpus = of_gpus(before, on_device)
    if on_device and not on_gpus:
        return None  # what the plan takes there is no figure of it
    model = before.chosen.candidate.placement_input
    budgets = before.budgets if before.solution.needs else before.budgets.without_gpus()
    share = DEVICE_SHARES[min(steps, len(DEVICE_SHARES) - 1)] if on_gpus else SHARE
    smaller = _within(before, budgets, share, at_load=at_load, on_gpus=on_gpus)
    for solution in solutions(model, smaller, before.constraints):
        return _with(before, solution, on_gpus=on_gpus)
    for solution in solutions(model, budgets, before.constraints):
        if moves(solution, on_gpus=on_gpus) < moves(before.solution, on_gpus=on_gpus):
            return _with(before, solution, on_gpus=on_gpus)
    return None


def without_gpus(before: Plan) -> Plan | None:
    """The best plan for the CPU alone, as the GPU does not work; None if it does not fit.

    Whatever layers were requested: none of them can be computed there.
    """
    model = before.chosen.candidate.placement_input
    constraints = replace(before.constraints, layers_on_gpu=None)
    for solution in solutions(model, before.budgets.without_gpus(), constraints):
        return _with(before, solution)
    return None


def on_cpu(plan: Plan) -> Plan:
    """The plan of an engine that was started with `plan` and found no GPU."""
    model, solution = plan.chosen.candidate.placement_input, plan.solution
    moved = placed(model, solution.setting, Placement(kind=PlacementKind.CPU))
    return _with(plan, replace(moved, pool=solution.pool))


def of_gpus(before: Plan, on_device: bool | None) -> bool:
    """Whether the memory that ran out is that of the plan's GPUs."""
    return bool(before.solution.needs) and on_device is not False


def moves(solution: Solution, *, on_gpus: bool) -> int:
    """Bytes that `solution` needs of the memory that ran out: of the GPUs, or of the host."""
    return sum(solution.needs) if on_gpus else solution.host_needs


def given_up(first: Solution, now: Solution) -> Iterator[str]:
    """What `now` gave up of the `first` solution that was tried, in words for users."""
    before, after = first.setting, now.setting
    if now.pool.reserved < first.pool.reserved:
        yield "fewer saved conversations"
    if after.context < before.context:
        yield "a shorter context"
    if after.slots < before.slots:
        yield "one request at a time" if after.slots == 1 else f"{after.slots} requests at a time"
    if row_bytes(after.key_type, ELEMENTS) < row_bytes(before.key_type, ELEMENTS):
        yield f"KV cache in {after.key_type}"
    if after.ubatch < before.ubatch:
        yield "smaller batches"
    if after.projector_on_cpu and not before.projector_on_cpu:
        yield "images on the CPU"
    if now.placement.kind is PlacementKind.CPU and first.placement.kind is not PlacementKind.CPU:
        yield "no layers on the GPU"
    elif _weights_on_gpus(now.placement) < _weights_on_gpus(first.placement):
        yield "fewer weights on the GPU"


def _weights_on_gpus(placement: Placement) -> tuple[int, int]:
    """An order of placements of one model, by how much of its weights is on GPUs."""
    return placement.gpu_layers, -placement.cpu_experts


def _within(before: Plan, budgets: Budgets, share: float, *, at_load: bool, on_gpus: bool) -> Budgets:
    """`budgets`, with less of the memory that ran out."""
    solution = before.solution
    if not on_gpus:
        unused = solution.pool.reserved if at_load else 0
        return replace(budgets, host=int(share * (solution.host_needs - unused)))
    needs = dict(zip(solution.placement.devices, solution.needs, strict=True))
    devices = (min(size, int(share * needs.get(number, size))) for number, size in enumerate(budgets.devices))
    return replace(budgets, devices=tuple(devices))


def _with(before: Plan, solution: Solution, *, on_gpus: bool = False) -> Plan:
    """The plan with another solution. An engine whose own choice of layers ran out of memory is told how many."""
    chosen = replace(before.chosen, solution=solution)
    return replace(before, chosen=chosen, rows=(chosen,), places_layers=on_gpus or before.places_layers)
