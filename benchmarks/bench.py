"""What a run of benches was asked for, and how values become figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import BASE, OPREL, Rounds
from benchmarks.processes import THIS, Checkout

Values = dict[str, float]  # of one side in one round, by the name of the figure


@dataclass(frozen=True, kw_only=True)
class Bench:
    """`base` is a checkout of another commit, and `against` the URL of a server, to measure beside."""

    rounds: int
    base: Path | None = None
    against: str | None = None

    @property
    def checkouts(self) -> dict[str, Checkout]:
        """The commits to measure."""
        return {OPREL: THIS} | ({BASE: Checkout(self.base)} if self.base else {})

    def compare(self, sides: Mapping[str, Callable[[], Values]]) -> dict[str, Rounds]:
        """The values of all rounds, by figure.

        In a round the sides come one after the other, so that they meet the same load. The first round, in which
        everything is cold, does not count.
        """
        results = [{side: measure() for side, measure in sides.items()} for _ in range(1 + self.rounds)][1:]
        names = next(iter(results[0].values()))
        return {
            name: {
                side: tuple(result[side][name] for result in results)
                for side, values in results[0].items()
                if name in values
            }
            for name in names
        }
