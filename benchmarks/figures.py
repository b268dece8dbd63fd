"""What benches measure: figures of oprel, each beside those of others from the same rounds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPREL, ENGINE, BASE, OTHER = "oprel", "bare engine", "commit before", "other server"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One quantity, measured once in each round on every side. `streams` is set where it is measured over their number.

    `rounds` has the values by side, in `unit`; the first side is what the figure is about.
    """

    subject: str
    name: str
    unit: str
    rounds: Mapping[str, tuple[float, ...]]
    streams: int | None = None

    @property
    def values(self) -> tuple[float, ...]:
        return next(iter(self.rounds.values()))

    @property
    def others(self) -> list[str]:
        return list(self.rounds)[1:]

    def ratios(self, side: str) -> list[float]:
        """The figure ÷ that of `side`, by round."""
        return [value / other for value, other in zip(self.values, self.rounds[side], strict=True)]

    def differences(self, side: str) -> list[float]:
        """The figure − that of `side`, by round."""
        return [value - other for value, other in zip(self.values, self.rounds[side], strict=True)]


def spread(values: Sequence[float]) -> float:
    """Half of what lies between the smallest and the largest, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / abs(middle) if middle else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not exceeded by at least `share` of all (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
