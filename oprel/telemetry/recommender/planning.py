"""Choose a variant of a model for a machine, its placement and its context: `plan`. Pure.

A Q4_K_M wholly on GPUs is preferred to a Q6_K partly on them. On a CPU every bit costs speed: the best quantization
that is still `FLUENT` comes first there, and Q4_K_M if none is. Users may prefer otherwise (`Preference`). Constraints
are kept, or the plan is refused with a reason. How quantizations are graded is explained in `candidates`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oprel.core.variants import bits_per_weight
from oprel.telemetry.recommender.budgets import Budgets, Reservation
from oprel.telemetry.recommender.candidates import (
    BY_QUALITY,
    BY_SPEED,
    LARGE_BITS,
    NATIVE,
    SMALL_MODEL,
    Candidate,
    Grade,
    Row,
    grade_of,
)
from oprel.telemetry.recommender.placement import (
    Placement,
    PlacementKind,
    Solution,
    placed,
    refused,
    settings_for,
    solutions,
    with_pool,
)
from oprel.telemetry.recommender.reasons import lacks_gpu_memory, refusal_of, why_not
from oprel.telemetry.recommender.settings import WHOLE_SLOTS, FitLevel, PlanConstraints, Preference
from oprel.telemetry.recommender.speed.prediction import planned_threads, tokens_per_second

FLUENT = 20.0  # tokens per second: more is faster than most people read, so quality counts from there on
Q8_SHARE = 0.5  # of the memory: the most that Q8_0 of a model above SMALL_MODEL may take

_COMFORTABLE = (FitLevel.USUAL, FitLevel.TIGHT)
# Combinations that are preferred, best first. All others follow, better grades first.
_PREFERRED = (
    (Grade.GOOD, PlacementKind.GPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.GPU, FitLevel.TIGHT),
    (Grade.GOOD, PlacementKind.EXPERTS_ON_CPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.MOSTLY_GPU, FitLevel.USUAL),
    (Grade.LESSER, PlacementKind.GPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.EXPERTS_ON_CPU, FitLevel.TIGHT),
    (Grade.GOOD, PlacementKind.MOSTLY_GPU, FitLevel.TIGHT),
    (Grade.LESSER, PlacementKind.GPU, FitLevel.TIGHT),
    *((Grade.GOOD, kind, level) for kind in (PlacementKind.PARTLY_GPU, PlacementKind.CPU) for level in _COMFORTABLE),
    *((Grade.LESSER, kind, level) for kind in PlacementKind for level in _COMFORTABLE),
)
_REST = ((grade, kind, level) for grade in Grade for level in FitLevel for kind in PlacementKind)
PREFERENCE = tuple(dict.fromkeys((*_PREFERRED, *_REST)))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to run a model on a machine: `rows` are all candidates, largest first, and `chosen` is one of them.

    If the chosen one does not fit, `refusal` says why and `advice` what would fit. `places_layers`: the engine is told
    where the layers go, which otherwise it finds out by itself.
    """

    chosen: Row
    rows: tuple[Row, ...]
    budgets: Budgets
    constraints: PlanConstraints
    refusal: str = ""
    advice: tuple[str, ...] = ()
    places_layers: bool = False

    @property
    def fits(self) -> bool:
        """Whether the chosen candidate fits the budgets within the constraints."""
        return self.chosen.fits

    @property
    def lacks_gpu_memory(self) -> bool:
        """Whether only the memory of GPUs does not suffice."""
        return not self.fits and lacks_gpu_memory(self.chosen, self.budgets)

    @property
    def is_contradictory(self) -> bool:
        """Whether no amount of memory would satisfy the constraints."""
        return self.chosen.contradiction is not None

    @property
    def solution(self) -> Solution:
        """The solution of the chosen candidate."""
        return self.chosen.solution


def plan(candidates: Sequence[Candidate], budgets: Budgets, constraints: PlanConstraints | None = None) -> Plan:
    """The best of `candidates` (at least one) within `budgets` and `constraints`.

    More memory never makes the plan worse, and a plan that fits never exceeds the budgets.
    """
    constraints = _preferring(constraints or PlanConstraints())
    rows = [_row(candidate, budgets, constraints) for candidate in sorted(candidates, key=_size, reverse=True)]
    chosen = min(rows, key=lambda row: (not row.fits, _preference(row, candidates, budgets, constraints.prefer)))
    if not chosen.fits:
        chosen = min(rows, key=lambda row: row.solution.total)
    explained = tuple(
        row if row is chosen and row.fits else replace(row, why=why_not(row, chosen, budgets)) for row in rows
    )
    refusal, advice = ("", ()) if chosen.fits else refusal_of(chosen, budgets, constraints)
    return Plan(chosen=chosen, rows=explained, budgets=budgets, constraints=constraints, refusal=refusal, advice=advice)


def plan_among(
    reservations: Sequence[Reservation],
    candidates: Sequence[Candidate],
    budgets: Budgets,
    constraints: PlanConstraints | None = None,
) -> Plan:
    """The best plan on a machine where other models hold `reservations` of the `budgets`.

    Evicts no model for a longer context alone: the plan beside all reservations wins if it is as good as the one
    beside pinned models only, which would evict the others.
    """
    constraints = constraints or PlanConstraints()
    if not reservations:
        return plan(candidates, budgets, constraints)
    pinned = budgets.beside(reservation for reservation in reservations if reservation.stays)
    evicting = plan(candidates, pinned, replace(constraints, ample=False))
    beside = plan(candidates, budgets.beside(reservations), constraints)
    if beside.fits and _is_as_good(beside, evicting):
        return beside
    return _with_pool_of(evicting, budgets.beside(reservations))


def _with_pool_of(evicting: Plan, spare: Budgets) -> Plan:
    """The plan with no larger a pool than `spare` budgets allow: no model is evicted for saved conversations."""
    if not evicting.fits or evicting.chosen.candidate.is_whole:
        return evicting
    chosen = replace(evicting.chosen, solution=with_pool(evicting.solution, spare))
    rows = tuple(chosen if row is evicting.chosen else row for row in evicting.rows)
    return replace(evicting, chosen=chosen, rows=rows)


def _is_as_good(beside: Plan, evicting: Plan) -> bool:
    def rank(plan: Plan) -> tuple[PlacementKind, FitLevel, int]:
        setting = plan.solution.setting
        # A requested context is needed once, and no model is evicted for slots that only share cells.
        slots = 0 if plan.constraints.context else -min(setting.slots, WHOLE_SLOTS)
        return plan.solution.placement.kind, setting.fit_level, slots

    return beside.chosen.candidate is evicting.chosen.candidate and rank(beside) <= rank(evicting)


def _preferring(constraints: PlanConstraints) -> PlanConstraints:
    """One request at a time, if a long context is preferred and nothing else fixes the number."""
    if constraints.prefer is not Preference.CONTEXT or constraints.slots:
        return constraints
    return replace(constraints, slots=1)


def _size(candidate: Candidate) -> int:
    return candidate.size_bytes


def _row(candidate: Candidate, budgets: Budgets, constraints: PlanConstraints) -> Row:
    best = next(solutions(candidate.placement_input, budgets, constraints), None)
    solution = best or _smallest(candidate, budgets, constraints)
    threads = planned_threads(candidate, solution, budgets, constraints.threads)
    speed = None  # embeddings have no speed in tokens
    if not constraints.embedding:
        speed = tokens_per_second(candidate, solution, budgets, threads=threads.single)
    return Row(candidate=candidate, solution=solution, fits=best is not None, speed=speed, threads=threads)


def _smallest(candidate: Candidate, budgets: Budgets, constraints: PlanConstraints) -> Solution:
    """What the candidate needs at the least, although it does not fit."""
    model, layers = candidate.placement_input, constraints.layers_on_gpu
    settings = settings_for(model, constraints)
    possible = [setting for setting in settings if not refused(model, setting)] or settings
    if layers and budgets.devices:
        devices = tuple(range(len(budgets.devices)))
        split = tuple(float(size or 1) for size in budgets.devices)
        placement = Placement(kind=PlacementKind.PARTLY_GPU, devices=devices, split=split, gpu_layers=layers)
    else:
        placement = Placement(kind=PlacementKind.CPU)
    return placed(model, possible[-1], placement)


def _preference(
    row: Row, candidates: Sequence[Candidate], budgets: Budgets, prefer: Preference | None = None
) -> tuple[int, int, int, float]:
    """The sort key of a row: lower is better."""
    kind, fit_level = row.solution.placement.kind, max(row.solution.setting.fit_level, FitLevel.USUAL)
    grade = Grade.GOOD if len(candidates) == 1 else grade_of(row.candidate)
    context = row.solution.setting.context if prefer is Preference.CONTEXT else 0
    order = _order(row, budgets, prefer)
    return PREFERENCE.index((grade, kind, fit_level)), -context, order, -row.candidate.bits


def _order(row: Row, budgets: Budgets, prefer: Preference | None) -> int:
    """The order of equally preferred candidates: native formats, usual ones, similar ones, those larger than useful."""
    candidate, kind = row.candidate, row.solution.placement.kind
    label = candidate.label.removeprefix("UD-")
    if label in NATIVE:
        return -1
    is_large = prefer is not Preference.QUALITY and _is_too_much(candidate, kind, budgets)
    is_slow = _is_slow(row, prefer)
    order = BY_SPEED if is_slow else BY_QUALITY
    if candidate.bits > LARGE_BITS or is_large:
        return 4 * len(order) + 1
    similar = (number for number, name in enumerate(order) if bits_per_weight(name) == bits_per_weight(label))
    return 2 * (next(similar, len(order)) + is_slow * len(order)) + (label not in order)


def _is_slow(row: Row, prefer: Preference | None) -> bool:
    """Whether fewer bits are worth their loss of quality for the speed."""
    kind = row.solution.placement.kind
    match prefer:
        case Preference.QUALITY:
            return False
        case Preference.SPEED:
            return True
    if kind is PlacementKind.CPU:
        return row.speed is not None and row.speed < FLUENT
    return kind is not PlacementKind.GPU and row.candidate.active_parameters > SMALL_MODEL


def _is_too_much(candidate: Candidate, kind: PlacementKind, budgets: Budgets) -> bool:
    """Whether this is Q8_0 of a model above SMALL_MODEL that would take most of the memory."""
    if candidate.bits < 8 or candidate.parameters <= SMALL_MODEL:
        return False
    memory = sum(budgets.devices) if kind is PlacementKind.GPU else budgets.host
    return candidate.size_bytes > Q8_SHARE * memory
