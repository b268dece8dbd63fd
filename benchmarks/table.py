"""Figures as text."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, spread


def lines(figures: Sequence[Figure]) -> Iterator[str]:
    """One line for each figure: the median and spread of each side, and the median of the ratios by round."""
    for figure in figures:
        name = figure.name if figure.streams is None else f"{figure.name}, {figure.streams} streams"
        texts = [f"{statistics.median(figure.values):10.4g} {figure.unit} ±{spread(figure.values):.0%}"]
        for side in figure.others:
            values = figure.rounds[side]
            ratios = figure.ratios(side)
            texts.append(
                f"{side} {statistics.median(values):.4g} ±{spread(values):.0%}: "
                f"÷ {statistics.median(ratios):.3g} ({min(ratios):.3g} to {max(ratios):.3g})"
            )
        yield f"{figure.subject:12} {name:44}" + "   ".join(texts)
