"""Which of a model's variants suits a machine, where its parts go, and with how much context: `plan`. Pure.

Rules, after what llama.cpp measured of its quantizations (KL divergence from 16 bits, tools/perplexity/README.md):
more than 6 bits are hardly to be told from 16, Q4_K_M is the usual compromise, below about 3.5 bits loss grows fast,
and the more so the smaller the model. All of Q4_K_M on a GPU is better than Q6_K on it in part. On a CPU each bit is
paid for in speed, so that large models begin at Q4_K_M there. What is asked for is kept, or refused with the reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

from oprel.core.variants import Variant, bits_per_weight
from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.estimator import ModelFootprint, footprint_of
from oprel.telemetry.recommender.budgets import Budgets, Reservation
from oprel.telemetry.recommender.placement import (
    Placement,
    PlacementInput,
    PlacementKind,
    Solution,
    placed,
    refused,
    settings_for,
    solutions,
)
from oprel.telemetry.recommender.settings import FitLevel, PlanConstraints
from oprel.telemetry.recommender.speed import tokens_per_second
from oprel.utils.text import human_size

BILLION = 10**9
# Best first where memory suffices; of each file whatever else it is called, what has about as many bits.
BY_QUALITY = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_XXS", "IQ2_M")
BY_SPEED = ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q5_K_M", "Q6_K", "Q8_0", *BY_QUALITY[6:])
NATIVE = ("MXFP4_MOE", "NVFP4")  # what a model was trained in: more bits would hold nothing more
Q8_SHARE = 0.5  # of the memory, that Q8_0 may take of a model which is not small
SMALL_MODEL = 4 * BILLION
# Models of so many parameters should not have fewer bits than this variant.
FLOORS = ((SMALL_MODEL, "Q4_K_M"), (14 * BILLION, "Q3_K_L"), (40 * BILLION, "IQ3_M"), (70 * BILLION, "IQ3_XXS"))
LAST_FLOOR = "IQ2_M"
GOOD_BITS = 4.3  # MXFP4 has them, Q3_K_L has not
LARGE_BITS = 9.0  # 16 and 32 bits: no better than 8, and twice as large and slow


class Grade(IntEnum):
    """How well a variant answers: as the model can, a little worse, so much worse that a smaller model is better."""

    GOOD = 0
    LESSER = 1
    POOR = 2


# What is preferred to what, when both can be had; then all the rest, the better grades first.
_PREFERRED = (
    (Grade.GOOD, PlacementKind.GPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.GPU, FitLevel.TIGHT),
    (Grade.GOOD, PlacementKind.EXPERTS_ON_CPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.MOSTLY_GPU, FitLevel.USUAL),
    (Grade.LESSER, PlacementKind.GPU, FitLevel.USUAL),
    (Grade.GOOD, PlacementKind.EXPERTS_ON_CPU, FitLevel.TIGHT),
    (Grade.GOOD, PlacementKind.MOSTLY_GPU, FitLevel.TIGHT),
    (Grade.LESSER, PlacementKind.GPU, FitLevel.TIGHT),
    *(
        (Grade.GOOD, where, comfort)
        for where in (PlacementKind.PARTLY_GPU, PlacementKind.CPU)
        for comfort in (FitLevel.USUAL, FitLevel.TIGHT)
    ),
    *((Grade.LESSER, where, comfort) for where in PlacementKind for comfort in (FitLevel.USUAL, FitLevel.TIGHT)),
)
_REST = ((grade, where, comfort) for grade in Grade for comfort in FitLevel for where in PlacementKind)
PREFERENCE = tuple(dict.fromkeys((*_PREFERRED, *_REST)))


@dataclass(frozen=True)
class Candidate:
    """A variant of a model: how many weights it has, and how many bytes its files, where they are known. The rest is as
    of a `PlacementInput`.
    """

    label: str
    anatomy: ModelFootprint
    parameters: int
    projector: int = 0
    adapters: int = 0
    compute_ratio: float = 1.0
    file_bytes: int = 0
    is_whole: bool = False

    @property
    def size_bytes(self) -> int:
        """Of the weights in memory."""
        return self.anatomy.weights.total

    @cached_property
    def bits(self) -> float:
        return bits_per_weight(self.label) or 8 * self.size_bytes / max(self.parameters, 1)

    @property
    def active_parameters(self) -> float:
        """Those that a token goes through."""
        dims, weights = self.anatomy.dims, self.anatomy.weights
        if not (dims.experts and dims.experts_used and weights.total):
            return float(self.parameters)
        idle = sum(weights.experts) / weights.total * (1 - min(1.0, dims.experts_used / dims.experts))
        return self.parameters * (1 - idle)

    @property
    def subject(self) -> PlacementInput:
        return PlacementInput(self.anatomy, self.projector, self.adapters, self.compute_ratio, self.is_whole)


@dataclass(frozen=True)
class Row:
    """What can be said of one variant: its best solution, or how it would be placed where it does not fit.

    `why` it was not chosen, empty for the one that was. `speed` in tokens a second, None where that is not known.
    """

    candidate: Candidate
    solution: Solution
    fits: bool
    speed: float | None
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """How to run a model on a machine. If `chosen` does not `fit`, `refusal` says why, and `advice` what would.

    `rows` are all variants, the largest first. `is_contradictory`: no memory would suffice for what is asked.
    """

    chosen: Row
    rows: tuple[Row, ...]
    budgets: Budgets
    asked: PlanConstraints
    refusal: str = ""
    advice: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.chosen.fits

    @property
    def is_contradictory(self) -> bool:
        return _never(self.chosen) is not None

    @property
    def solution(self) -> Solution:
        return self.chosen.solution


def sized(header: GGUFFile, variants: Sequence[Variant], projector: int = 0) -> list[Candidate]:
    """Candidates of which only one variant's header was read: the others are as that one, larger or smaller.

    Where a model comes in shards its first one tells of a part of the tensors: the names of quantizations tell more.
    """
    whole = footprint_of(header)
    counts = [8 * one.size_bytes / bits for one in variants if (bits := bits_per_weight(one.label))]
    parameters = max(header.parameter_count, round(min(counts, default=0)))
    return [
        Candidate(one.label, whole.resized(one.size_bytes), parameters, projector, file_bytes=one.size_bytes)
        for one in variants
    ]


def plan(candidates: Sequence[Candidate], budgets: Budgets, asked: PlanConstraints | None = None) -> Plan:
    """The best of `candidates` (at least one) within `budgets`, run as asked.

    The more memory there is, the better the plan; it never takes more than there is.
    """
    asked = asked or PlanConstraints()
    rows = [_row(candidate, budgets, asked) for candidate in sorted(candidates, key=_size, reverse=True)]
    chosen = min(rows, key=lambda row: (not row.fits, _preference(row, candidates, budgets)))
    if not chosen.fits:
        chosen = min(rows, key=lambda row: row.solution.total)
    told = tuple(
        row if row is chosen and row.fits else replace(row, why=_why_not(row, chosen, budgets)) for row in rows
    )
    refusal, advice = ("", ()) if chosen.fits else _refused(chosen, budgets, asked)
    return Plan(chosen, told, budgets, asked, refusal, advice)


def plan_among(
    taken: Sequence[Reservation],
    candidates: Sequence[Candidate],
    budgets: Budgets,
    asked: PlanConstraints | None = None,
) -> Plan:
    """The best plan beside the models that have `taken` of the budgets, if that is as good as the one without those
    that could go; else that one. More than usual is taken only of what is free.
    """
    asked = asked or PlanConstraints()
    if not taken:
        return plan(candidates, budgets, asked)
    alone = plan(candidates, budgets.beside(one for one in taken if one.stays), replace(asked, ample=False))
    beside = plan(candidates, budgets.beside(taken), asked)
    return beside if beside.fits and _is_as_good(beside, alone) else alone


def _is_as_good(one: Plan, other: Plan) -> bool:
    def rank(found: Plan) -> tuple[PlacementKind, FitLevel, int]:
        return found.solution.placement.where, found.solution.setting.comfort, -found.solution.setting.slots

    return one.chosen.candidate is other.chosen.candidate and rank(one) <= rank(other)


def _size(candidate: Candidate) -> int:
    return candidate.size_bytes


def _row(candidate: Candidate, budgets: Budgets, asked: PlanConstraints) -> Row:
    found = next(solutions(candidate.subject, budgets, asked), None)
    solution = found or _smallest(candidate, budgets, asked)
    speed = None  # of what makes vectors there is none
    if not asked.embedding:
        speed = tokens_per_second(candidate.anatomy, solution.estimate, solution.placement.devices, budgets)
    return Row(candidate, solution, found is not None, speed)


def _smallest(candidate: Candidate, budgets: Budgets, asked: PlanConstraints) -> Solution:
    """What it would take as asked, or at least, where nothing fits: told, not done."""
    subject, layers = candidate.subject, asked.layers_on_gpu
    settings = settings_for(subject, asked)
    possible = [one for one in settings if not refused(subject, one)] or settings
    if layers and budgets.devices:
        devices = tuple(range(len(budgets.devices)))
        split = tuple(float(one or 1) for one in budgets.devices)
        place = Placement(PlacementKind.PARTLY_GPU, devices, split, layers)
    else:
        place = Placement(PlacementKind.CPU)
    return placed(subject, possible[0] if asked.context or asked.cells else possible[-1], place)


def _preference(row: Row, candidates: Sequence[Candidate], budgets: Budgets) -> tuple[int, int, float]:
    where, comfort = row.solution.placement.where, max(row.solution.setting.comfort, FitLevel.USUAL)
    grade = Grade.GOOD if len(candidates) == 1 else grade_of(row.candidate)
    order = _order(row.candidate, where, budgets)
    return PREFERENCE.index((grade, where, comfort)), order, -row.candidate.bits


def grade_of(candidate: Candidate) -> Grade:
    if candidate.bits >= GOOD_BITS:
        return Grade.GOOD
    names = (label for limit, label in FLOORS if candidate.parameters < limit)
    floor = bits_per_weight(next(names, LAST_FLOOR)) or 0.0
    return Grade.LESSER if candidate.bits >= floor else Grade.POOR


def _order(candidate: Candidate, where: PlacementKind, budgets: Budgets) -> int:
    """Among variants that are as good to have: native ones, the usual ones, their kin, those of more bits than help."""
    label = candidate.label.removeprefix("UD-")
    if label in NATIVE:
        return -1
    is_slow = where is not PlacementKind.GPU and candidate.active_parameters > SMALL_MODEL
    order = BY_SPEED if is_slow else BY_QUALITY
    if candidate.bits > LARGE_BITS or _is_too_much(candidate, where, budgets):
        return 2 * len(order) + 1
    kin = (number for number, name in enumerate(order) if bits_per_weight(name) == bits_per_weight(label))
    return 2 * next(kin, len(order)) + (label not in order)


def _is_too_much(candidate: Candidate, where: PlacementKind, budgets: Budgets) -> bool:
    """Q8_0 of a model that is not small, where it takes most of the memory."""
    if candidate.bits < 8 or candidate.parameters <= SMALL_MODEL:
        return False
    room = sum(budgets.devices) if where is PlacementKind.GPU else budgets.host
    return candidate.size_bytes > Q8_SHARE * room


def _why_not(row: Row, chosen: Row, budgets: Budgets) -> str:
    if never := _never(row):
        return never
    if not row.fits:
        return f"needs {human_size(row.solution.total)}, and {_had(budgets)}"
    if not chosen.fits:
        return ""
    mine, best = row.candidate, chosen.candidate
    if mine.bits < best.bits:
        return f"loses more than {best.label}, which fits too"
    if row.solution.placement.where > chosen.solution.placement.where:
        return f"only {where_in_words(row)}" if row.solution.placement.devices else "on the CPU only"
    if mine.bits > LARGE_BITS:
        return "twice the size, and no better"
    return "takes more of the memory than its bits are worth"


def where_in_words(row: Row) -> str:
    """Such as "GPU", "20 of 33 layers on the GPU", "CPU"."""
    place, blocks = row.solution.placement, row.candidate.subject.blocks
    gpus = f"{len(place.devices)} GPUs" if len(place.devices) > 1 else "the GPU"
    match place.where:
        case PlacementKind.GPU:
            return gpus.removeprefix("the ")
        case PlacementKind.EXPERTS_ON_CPU:
            return f"{gpus.removeprefix('the ')}, experts of {place.cpu_experts} of {blocks} layers on the CPU"
        case PlacementKind.CPU:
            return "CPU"
        case _:
            return f"{place.gpu_layers} of {blocks + 1} layers on {gpus}"


def _had(budgets: Budgets) -> str:
    if budgets.shared:
        return f"{human_size(budgets.host)} of what CPU and GPU share may be taken"
    gpus = f"{human_size(sum(budgets.devices))} of the GPUs' memory and " if budgets.devices else ""
    return f"{gpus}{human_size(budgets.host)} of the machine's may be taken"


def _refused(chosen: Row, budgets: Budgets, asked: PlanConstraints) -> tuple[str, tuple[str, ...]]:
    """Why the least of all plans does not fit, and what would."""
    solution = chosen.solution
    setting = solution.setting
    if never := _never(chosen):
        return never, ("Leave the type of its KV cache to oprel, or take another.",)
    fixed = f" as asked (a context of {setting.context})" if asked.context or asked.cells else ""
    why = f"it needs {human_size(solution.total)}{fixed}, and {_had(budgets)}"
    advice = []
    relaxed = replace(asked, context=None, cells=None, slots=None, key_type=None, value_type=None, layers_on_gpu=None)
    if asked != relaxed and (other := next(solutions(chosen.candidate.subject, budgets, relaxed), None)):
        advice.append(
            f"It fits with a context of {other.setting.context} and {other.setting.slots} request(s) at a time."
        )
    else:
        advice.append(_smaller(chosen, budgets))
    return why, tuple(advice)


def _smaller(chosen: Row, budgets: Budgets) -> str:
    """A variant with so few bits that its weights would fit, if its quality would suffice."""
    candidate = chosen.candidate
    room = budgets.host if budgets.shared else budgets.host + sum(budgets.devices)
    left = room - (chosen.solution.total - candidate.size_bytes)
    bits = candidate.bits * left / max(candidate.size_bytes, 1)
    for label in BY_QUALITY if candidate.label not in NATIVE else ():
        less = replace(candidate, label=label)
        if (bits_per_weight(label) or 0) <= bits and grade_of(less) is not Grade.POOR:
            return f"Its {label} would fit."
    return "Use a smaller model."


def _never(row: Row) -> str | None:
    """Why engines do not start with such a cache."""
    return refused(row.candidate.subject, row.solution.setting)
