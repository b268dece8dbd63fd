"""docs/performance.md and its plots, made from results."""

import importlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.budgets import Budget, Verdict, verdicts
from benchmarks.figures import Figure
from benchmarks.plots import plot
from benchmarks.processes import ROOT
from benchmarks.results import Results
from benchmarks.table import amount, comparison, measured

FOLDER = ROOT / "docs"
PAGE = FOLDER / "performance.md"
HEAD = """# Performance

How fast is oprel, and what does the daemon add to its engine? `bin/bench all --write-docs` measures it, and wrote
this page.

Each figure is measured in {rounds} rounds, after one that does not count. In a round its sides come one after the
other, so that they meet the same load, and what counts is the ratio or the difference within a round: times alone
depend on the machine and on what else it does. Shown is the median, with half the range as ±, and of ratios the range.
The bare engine is asked without the daemon, with the same threads, slots, context and flags.

Commit {commit}, beside {base}, on {cpus} CPUs with Python {python}.
"""


def write(results: Results, budgets: Sequence[Budget], page: Path = PAGE) -> None:
    plots = dict(_plots(results.figures))
    for name, content in plots.items():
        page.with_name(name).write_text(content)
    page.write_text("\n".join(_page(results, list(verdicts(budgets, results.figures)), list(plots))))


def _page(results: Results, found: Sequence[Verdict], plots: Sequence[str]) -> Iterator[str]:
    about = vars(results) | {"base": results.base or "no other one"}
    yield HEAD.format(**about)
    yield "## Budgets\n"
    yield from _budgets(found)
    yield from (f"\n![{name}]({name})" for name in plots)
    for subject, figures in groupby(results.figures, key=lambda figure: figure.subject):
        before, after = results.loads[subject]
        yield f"\n## {subject}\n"
        yield _what(subject)
        yield f"\nLoad average {before:.1f} before, {after:.1f} after.\n"
        yield from _table(list(figures))
    yield ""


def _budgets(found: Sequence[Verdict]) -> Iterator[str]:
    yield "| subject | figure | budget | measured | |\n| --- | --- | --- | --- | --- |"
    for verdict in found:
        budget, mark = verdict.budget, "" if verdict.passes else "missed"
        span = f"{amount(verdict.value)} ({amount(min(verdict.values))} to {amount(max(verdict.values))})"
        yield f"| {budget.subject} | {budget.what} | {budget.bound} | {span} | {mark} |"


def _table(figures: Sequence[Figure]) -> Iterator[str]:
    yield "| figure | measured | beside |\n| --- | --- | --- |"
    for figure in figures:
        beside = "<br>".join(f"{side} {comparison(figure, side)}" for side in figure.others)
        yield f"| {figure.title} | {measured(figure.values())} {figure.unit} | {beside} |"


def _what(subject: str) -> str:
    """The subject in words: the beginning of its module's docstring."""
    module = importlib.import_module(f"benchmarks.subjects.{subject.replace('-', '_')}")
    return (module.__doc__ or "").strip()


def _plots(figures: Sequence[Figure]) -> Iterator[tuple[str, str]]:
    """Name and content of a plot for each quantity that was measured over the number of streams."""
    grown = [figure for figure in figures if figure.streams and "between" not in figure.name]
    for (subject, name), group in groupby(sorted(grown, key=_quantity), key=_quantity):
        points = sorted(group, key=lambda figure: figure.streams or 0)
        if len(points) > 2:
            title = f"{name} ({points[0].unit})"
            yield f"performance-{_file_name(f'{subject} {name}')}.svg", plot(title, points)


def _quantity(figure: Figure) -> tuple[str, str]:
    return figure.subject, figure.name


def _file_name(text: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())
