"""Measure oprel, each figure beside the bare engine and others in the same run.

usage: bin/bench SUBJECT ... [--rounds N] [--base CHECKOUT] [--against URL] [--json FILE] [--check] [--write-docs]
       bin/bench --results FILE ... [--check] [--write-docs]

A SUBJECT is a module of benchmarks/subjects; `all` are all of them. `--base` is another commit, checked out with an
environment of its own, to measure beside; `--against` a server of Ollama's API, which gets models that are called
oprel-bench-... `--results` takes the files of earlier runs instead of measuring. Exits with 1 if `--check` finds a
figure beyond its budget (benchmarks/budgets.toml).
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import budgets, document, results, table
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from benchmarks.processes import THIS, Checkout
from benchmarks.results import Results

SUBJECTS = Path(__file__).with_name("subjects")
ALL = "all"


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that daemons end
    if options.results:
        found = results.read(options.results)
    else:
        bench = Bench(rounds=options.rounds, base=options.base and options.base.absolute(), against=options.against)
        found = measured(bench, chosen(options.subjects))
    if options.json:
        results.write(found, options.json)
    limits = budgets.read()
    if options.write_docs:
        document.write(found, limits)
    good = list(shown(limits, found.figures))
    return 1 if options.check and not all(good) else 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="bin/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("subjects", nargs="*", metavar="SUBJECT")
    found.add_argument("--rounds", type=int, default=5, help="how often each figure is measured (default: 5)")
    found.add_argument("--base", type=Path, metavar="CHECKOUT")
    found.add_argument("--against", metavar="URL")
    found.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    found.add_argument("--results", type=Path, nargs="+", metavar="FILE")
    found.add_argument("--check", action="store_true")
    found.add_argument("--write-docs", action="store_true", help="write docs/performance.md and its plots")
    return found


def names() -> list[str]:
    return sorted(file.stem.replace("_", "-") for file in SUBJECTS.glob("*.py"))


def chosen(subjects: Sequence[str]) -> list[str]:
    """Exits where there is no subject of a name."""
    if unknown := set(subjects) - {ALL, *names()}:
        sys.exit(f"bench: no subject is called {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    return names() if ALL in subjects else list(subjects)


def measured(bench: Bench, subjects: Sequence[str]) -> Results:
    """Measures, and prints each figure at once."""
    cpus, python = results.machine()
    figures, loads = list[Figure](), dict[str, Sequence[float]]()
    for subject in subjects:
        module = importlib.import_module(f"benchmarks.subjects.{subject.replace('-', '_')}")
        before = os.getloadavg()[0]
        for figure in module.measure(bench):
            figures.append(figure)
            print(table.line(figure), flush=True)
        loads[subject] = before, os.getloadavg()[0]
        print(f"{subject:13} load average {before:.1f} before, {loads[subject][1]:.1f} after, {cpus} CPUs", flush=True)
    return Results(
        commit=THIS.commit,
        base=Checkout(bench.base).commit if bench.base else "",
        cpus=cpus,
        python=python,
        rounds=bench.rounds,
        loads=loads,
        figures=figures,
    )


def shown(limits: Sequence[budgets.Budget], figures: Sequence[Figure]) -> Iterator[bool]:
    """Prints each verdict, and says whether it is a good one."""
    for verdict in list(budgets.verdicts(limits, figures)):
        print(table.verdict_line(verdict))
        yield verdict.passes


if __name__ == "__main__":
    sys.exit(main())
