"""Measure subjects: bin/bench SUBJECT ... [--rounds N] [--base CHECKOUT] [--json FILE]"""

import argparse
import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import table
from benchmarks.bench import Bench
from benchmarks.figures import Figure


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("subjects", nargs="+", metavar="SUBJECT")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument(
        "--base", type=Path, metavar="CHECKOUT", help="another commit to measure beside, with its own .venv"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    bench = Bench(rounds=options.rounds, base=options.base and options.base.absolute())
    figures: list[Figure] = []
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    for subject in options.subjects:
        module = importlib.import_module(f"benchmarks.subjects.{subject.replace('-', '_')}")
        for figure in module.measure(bench):
            figures.append(figure)
            print(*table.lines([figure]), flush=True)
    print(f"load average {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
