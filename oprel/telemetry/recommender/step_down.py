"""How to restart an engine that ran out of memory: the next plan that needs less. Pure.

What the user requested stays. What the planner chose is given up, in the planner's own order of preference.
"""

from collections.abc import Iterator
from dataclasses import replace

from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.placement import PlacementKind, Solution, solutions
from oprel.telemetry.recommender.planning import Plan

SHARE = 0.9  # of the memory that did not suffice: what the next attempt may use


def less(before: Plan, *, at_load: bool = False) -> Plan | None:
    """The best plan that needs at most `SHARE` of the memory of `before`, or else any less; None at the end.

    `at_load`: the engine ran out before its first request, so conversations that it would have saved do not count.

    Only the memory that ran out counts (`moves`): that of GPUs while the plan uses any, then the host's. A plan that
    left the GPUs does not return to them.
    """
    model = before.chosen.candidate.placement_input
    budgets = before.budgets if before.solution.needs else before.budgets.without_gpus()
    for solution in solutions(model, _within(before, budgets, at_load), before.constraints):
        return _with(before, solution)
    for solution in solutions(model, budgets, before.constraints):
        if moves(solution, before) < moves(before.solution, before):
            return _with(before, solution)
    return None


def _within(before: Plan, budgets: Budgets, at_load: bool) -> Budgets:
    """`budgets`, with less of the memory that ran out."""
    solution = before.solution
    if not solution.needs:
        unused = solution.pool.reserved if at_load else 0
        return replace(budgets, host=int(SHARE * (solution.host_needs - unused)))
    needs = dict(zip(solution.placement.devices, solution.needs, strict=True))
    devices = (min(size, int(SHARE * needs.get(number, size))) for number, size in enumerate(budgets.devices))
    return replace(budgets, devices=tuple(devices))


def moves(solution: Solution, before: Plan) -> int:
    """Bytes that `solution` needs of the memory that ran out under `before`: of the GPUs, or of the host."""
    return sum(solution.needs) if before.solution.needs else solution.host_needs


def given_up(first: Solution, now: Solution) -> Iterator[str]:
    """What `now` gave up of the `first` solution that was tried, in words for users."""
    before, after = first.setting, now.setting
    if now.pool.reserved < first.pool.reserved:
        yield "fewer saved conversations"
    if after.context < before.context:
        yield "a shorter context"
    if after.slots < before.slots:
        yield "one request at a time" if after.slots == 1 else f"{after.slots} requests at a time"
    if after.key_type != before.key_type:
        yield f"KV cache in {after.key_type}"
    if after.ubatch < before.ubatch:
        yield "smaller batches"
    if after.projector_on_cpu and not before.projector_on_cpu:
        yield "images on the CPU"
    if now.placement.kind is PlacementKind.CPU and first.placement.kind is not PlacementKind.CPU:
        yield "no layers on the GPU"
    elif now.placement != first.placement:
        yield "fewer weights on the GPU"


def _with(before: Plan, solution: Solution) -> Plan:
    chosen = replace(before.chosen, solution=solution)
    return replace(before, chosen=chosen, rows=(chosen,))
