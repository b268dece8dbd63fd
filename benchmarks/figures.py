"""What benches measure: figures of oprel, each beside those of others from the same rounds. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPREL, ENGINE, BASE, OTHER = "oprel", "bare engine", "commit before", "other server"

Rounds = Mapping[str, tuple[float, ...]]  # the values of all rounds, by side


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One quantity in `unit`, measured once in each round on every side. The first side is what it is about.

    `streams` is set for what is measured over the number of streams.
    """

    subject: str
    name: str
    unit: str
    rounds: Rounds
    streams: int | None = None

    @property
    def side(self) -> str:
        return next(iter(self.rounds))

    @property
    def others(self) -> list[str]:
        return list(self.rounds)[1:]

    @property
    def title(self) -> str:
        if self.streams is None:
            return self.name
        return f"{self.name}, {self.streams} stream{'s' if self.streams > 1 else ''}"

    def values(self, side: str = "") -> tuple[float, ...]:
        return self.rounds[side or self.side]

    def median(self, side: str = "") -> float:
        return statistics.median(self.values(side))

    def ratios(self, side: str) -> list[float]:
        """The figure ÷ that of `side`, by round."""
        return [value / other for value, other in zip(self.values(), self.values(side), strict=True)]

    def differences(self, side: str) -> list[float]:
        """The figure − that of `side`, by round."""
        return [value - other for value, other in zip(self.values(), self.values(side), strict=True)]


def spread(values: Sequence[float]) -> float:
    """Half of what lies between the smallest and the largest, as a share of the median."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / 2 / abs(middle) if middle else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
