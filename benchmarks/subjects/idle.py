"""What a daemon takes that has nothing to do: resident memory, and how often it wakes up."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks.bench import Bench, Values
from benchmarks.figures import Figure
from benchmarks.processes import Daemon, resident_bytes, running_daemon, wake_ups

SECONDS = 5.0
SETTLED = 2.0  # seconds after its start or a load
UNITS = {"resident memory": "MB", "wake-ups a second": "/s"}


def measure(bench: Bench) -> Iterator[Figure]:
    with ExitStack() as stack:
        daemons = {side: stack.enter_context(running_daemon(checkout)) for side, checkout in bench.checkouts.items()}
        yield from calm(bench, "without a model", daemons)
        for daemon in daemons.values():
            daemon.engine("guide")
        yield from calm(bench, "with a model", daemons)


def calm(bench: Bench, state: str, daemons: dict[str, Daemon]) -> Iterator[Figure]:
    time.sleep(SETTLED)
    sides: dict[str, Callable[[], Values]] = {side: partial(taken_by, daemon) for side, daemon in daemons.items()}
    for name, rounds in bench.compare(sides).items():
        yield Figure(subject="idle", name=f"{name}, {state}", unit=UNITS[name], rounds=rounds)


def taken_by(daemon: Daemon) -> Values:
    before = wake_ups(daemon.pid)
    time.sleep(SECONDS)
    woken = (wake_ups(daemon.pid) - before) / SECONDS
    return {"resident memory": resident_bytes(daemon.pid) / 1e6, "wake-ups a second": woken}
