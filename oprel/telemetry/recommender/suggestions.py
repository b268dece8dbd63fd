"""What would need less memory or be faster than a plan: each by planning again with one change. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from oprel.core.variants import bits_per_weight
from oprel.telemetry.recommender.candidates import Candidate, Grade, grade_of
from oprel.telemetry.recommender.planning import Plan, plan
from oprel.telemetry.recommender.settings import SHORTEST_CONTEXT, PlanConstraints
from oprel.utils.text import human_size

NOTEWORTHY_BYTES, NOTEWORTHY_SHARE = 128 * 1024**2, 0.05  # of memory saved: at least both
NOTEWORTHY_SPEED = 1.25
SMALLER = "Q4_K_M"  # where only one variant of a model is available, another one to look for
SMALLER_BITS, MARGIN = 0.8, 1.02  # of the bits that a smaller one has at most; of the size, for its metadata


@dataclass(frozen=True)
class Suggestion:
    """A `change`, such as "q8_0 KV", the bytes of memory that it saves, and how many times as fast answers would be.

    `speed` is in tokens per second, None if unknown.
    """

    change: str
    saved_bytes: int
    speedup: float
    speed: float | None

    @property
    def text(self) -> str:
        """The suggestion in words, such as "half the context saves 2.1 GB"."""
        effects = [f"saves {human_size(self.saved_bytes)}"] if self.saved_bytes >= NOTEWORTHY_BYTES else []
        effects += [f"is {self.speedup:.1f}x as fast"] if self.speedup >= NOTEWORTHY_SPEED else []
        return f"{self.change} {' and '.join(effects)}"


def suggestions(current: Plan) -> tuple[Suggestion, ...]:
    """The changes to a plan that fits which are worth mentioning, the largest saving first."""
    if not current.fits:
        return ()
    compared = (_compared(change, current, changed) for change, changed in _changes(current))
    least = max(NOTEWORTHY_BYTES, round(NOTEWORTHY_SHARE * current.solution.total))
    worth = [each for each in compared if each and (each.saved_bytes >= least or each.speedup >= NOTEWORTHY_SPEED)]
    return tuple(sorted(worth, key=lambda each: -each.saved_bytes))


def _changes(current: Plan) -> Iterator[tuple[str, Plan]]:
    """The plan with each change, in which everything else is as in `current`."""
    setting, kept = current.solution.setting, _fixed(current)
    candidate = [current.chosen.candidate]
    if setting.key_type == "f16" and setting.value_type == "f16" and setting.flash_attention:
        yield "q8_0 KV", plan(candidate, current.budgets, replace(kept, key_type="q8_0", value_type="q8_0"))
    if setting.context // 2 >= SHORTEST_CONTEXT and not setting.embedding:
        half = replace(kept, context=setting.context // 2, cells=None)
        yield "half the context", plan(candidate, current.budgets, half)
    if setting.slots > 1 and setting.unified:
        single = replace(kept, slots=1, context=setting.context, cells=None)
        yield f"one request at a time instead of {setting.slots}", plan(candidate, current.budgets, single)
    if smaller := _smaller(current):
        change = f"{smaller.label} instead of {candidate[0].label}"
        yield change, plan([smaller], current.budgets, kept)


def _fixed(current: Plan) -> PlanConstraints:
    """The constraints of a plan, with all that it chose."""
    setting = current.solution.setting
    return replace(
        current.constraints,
        context=None if current.constraints.cells else setting.context,
        slots=setting.slots,
        key_type=setting.key_type,
        value_type=setting.value_type,
    )


def _smaller(current: Plan) -> Candidate | None:
    """The best variant with clearly fewer bits that loses little; one that may exist, if there is but one variant."""
    candidate = current.chosen.candidate
    most = SMALLER_BITS * candidate.bits
    others: Sequence[Candidate] = [row.candidate for row in current.rows if row.candidate is not candidate]
    if not others and not candidate.is_whole and candidate.parameters:
        size = round(candidate.parameters * (bits_per_weight(SMALLER) or 0) / 8 * MARGIN)
        footprint = candidate.footprint.resized(size, SMALLER)
        others = [replace(candidate, label=SMALLER, footprint=footprint, file_bytes=size, tensor_arithmetic=None)]
    good = [other for other in others if other.bits <= most and grade_of(other) is Grade.GOOD]
    by_name = [other for other in good if other.label.removeprefix("UD-") == SMALLER]
    return next(iter([*by_name, *sorted(good, key=lambda other: -other.bits)]), None)


def _compared(change: str, current: Plan, changed: Plan) -> Suggestion | None:
    if not changed.fits:
        return None
    before, after = current.chosen.speed, changed.chosen.speed
    speedup = after / before if before and after else 1.0
    return Suggestion(change, current.solution.expected - changed.solution.expected, speedup, after)
