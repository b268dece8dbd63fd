"""Figures and verdicts as text. Pure."""

import statistics
from collections.abc import Sequence

from benchmarks.budgets import Verdict
from benchmarks.figures import Figure, spread


def amount(value: float) -> str:
    """Three digits, or all of a whole part that has more."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def measured(values: Sequence[float]) -> str:
    """The median with its spread."""
    return f"{amount(statistics.median(values))} ±{spread(values):.0%}"


def comparison(figure: Figure, side: str) -> str:
    """A figure beside a side: its median, and the median and range of the ratios by round."""
    ratios = figure.ratios(side) if all(figure.values(side)) else []
    if not ratios:
        return measured(figure.values(side))
    low, high = amount(min(ratios)), amount(max(ratios))
    return f"{measured(figure.values(side))}: ÷ {amount(statistics.median(ratios))} ({low} to {high})"


def line(figure: Figure) -> str:
    beside = [f"{side} {comparison(figure, side)}" for side in figure.others]
    return "   ".join([f"{figure.subject:13} {figure.title:46} {measured(figure.values()):>11} {figure.unit}", *beside])


def verdict_line(verdict: Verdict) -> str:
    budget = verdict.budget
    mark = "ok  " if verdict.passes else "MISS"
    low, high = amount(min(verdict.values)), amount(max(verdict.values))
    return f"{mark} {budget.subject:13} {budget.what:66} {amount(verdict.value):>7} ({low} to {high}), {budget.bound}"
