"""The budget file: what figures have to be, alone or beside another side. Pure but for reading it."""

import statistics
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure

FILE = Path(__file__).with_name("budgets.toml")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Bounds of the median of a figure; of its ratio to a side with `over`, of the difference with `minus`."""

    subject: str
    figure: str
    over: str = ""
    minus: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def what(self) -> str:
        return (
            f"{self.figure} ÷ {self.over}"
            if self.over
            else f"{self.figure} − {self.minus}"
            if self.minus
            else self.figure
        )

    @property
    def bound(self) -> str:
        parts = [f"≥ {self.at_least:g}"] if self.at_least is not None else []
        return ", ".join(parts + ([f"≤ {self.at_most:g}"] if self.at_most is not None else []))

    def concerns(self, figure: Figure) -> bool:
        """False too where the side was not measured."""
        side = self.over or self.minus
        return (figure.subject, figure.title) == (self.subject, self.figure) and (not side or side in figure.rounds)

    def measured(self, figure: Figure) -> Sequence[float]:
        """What is bounded, by round."""
        if self.over:
            return figure.ratios(self.over)
        return figure.differences(self.minus) if self.minus else figure.values()

    def allows(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True)
class Verdict:
    """A budget, and what was measured by round."""

    budget: Budget
    values: Sequence[float]

    @property
    def value(self) -> float:
        return statistics.median(self.values)

    @property
    def passes(self) -> bool:
        return self.budget.allows(self.value)


def read(file: Path = FILE) -> list[Budget]:
    """Raises TypeError for a key that no budget has."""
    tables = tomllib.loads(file.read_text())
    return [Budget(subject=subject, **entry) for subject, entries in tables.items() for entry in entries]


def verdicts(budgets: Sequence[Budget], figures: Sequence[Figure]) -> Iterator[Verdict]:
    """Of all budgets whose figures were measured."""
    for budget in budgets:
        for figure in figures:
            if budget.concerns(figure):
                yield Verdict(budget, budget.measured(figure))
