"""Commands beside a warm daemon, and Python alone."""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.bench import Bench, Values
from benchmarks.figures import BASE, OPREL, Figure
from benchmarks.processes import Daemon, environment, running_daemon

PYTHON = "python -c pass"
COMMANDS = ("list", "ps", "--version")
RUNS = 5  # in a round, of which the fastest counts


def measure(bench: Bench) -> Iterator[Figure]:
    with running_daemon() as daemon:
        daemon.engine("guide")
        launchers = {side: checkout.launcher for side, checkout in bench.checkouts.items()}
        for command in COMMANDS:
            ways = {OPREL: [launchers[OPREL], command], PYTHON: [sys.executable, "-c", "pass"]}
            if BASE in launchers:
                ways[BASE] = [launchers[BASE], command]
            rounds = bench.compare({side: partial(fastest, daemon, way) for side, way in ways.items()})
            yield Figure(subject="command-line", name=f"oprel {command}", unit="ms", rounds=rounds["ms"])


def fastest(daemon: Daemon, command: list[str]) -> Values:
    return {"ms": min(seconds(daemon, command) for _ in range(RUNS)) * 1e3}


def seconds(daemon: Daemon, command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment(daemon.home), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began
