"""What an engine is started with after it ran out of memory: the planner is asked again, with less. Pure.

What is asked for stays; what was chosen goes, in the planner's own order.
"""

from collections.abc import Iterator
from dataclasses import replace

from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.placement import PlacementKind, Solution, solutions
from oprel.telemetry.recommender.planning import Plan

SHARE = 0.9  # of what did not fit, that the next try may take


def less(before: Plan) -> Plan | None:
    """The best plan within `SHARE` of what moves, or else within less at all; None at the end.

    What moves is what lies on GPUs, as long as something does; once given up they stay so.
    """
    subject = before.chosen.candidate.subject
    room = before.budgets if before.solution.needs else before.budgets.without_gpus()
    for one in solutions(subject, _within(before, room), before.asked):
        return _with(before, one)
    smaller = (
        one for one in solutions(subject, room, before.asked) if moves(one, before) < moves(before.solution, before)
    )
    found = next(smaller, None)
    return _with(before, found) if found else None


def _within(before: Plan, room: Budgets) -> Budgets:
    """Where memory ran out, less than was to be taken."""
    solution = before.solution
    if not solution.needs:
        return replace(room, host=int(SHARE * solution.host_needs))
    needs = dict(zip(solution.placement.devices, solution.needs, strict=True))
    devices = (min(size, int(SHARE * needs.get(number, size))) for number, size in enumerate(room.devices))
    return replace(room, devices=tuple(devices))


def moves(solution: Solution, before: Plan) -> int:
    """Bytes where memory ran out."""
    return sum(solution.needs) if before.solution.needs else solution.host_needs


def given_up(first: Solution, now: Solution) -> Iterator[str]:
    """How an engine differs from the first that was tried, as users read it."""
    before, after = first.setting, now.setting
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
    if now.placement.where is PlacementKind.CPU and first.placement.where is not PlacementKind.CPU:
        yield "no layers on the GPU"
    elif now.placement != first.placement:
        yield "fewer weights on the GPU"


def _with(before: Plan, solution: Solution) -> Plan:
    chosen = replace(before.chosen, solution=solution)
    return replace(before, chosen=chosen, rows=(chosen,))
