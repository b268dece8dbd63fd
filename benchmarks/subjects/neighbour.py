"""Tokens per second beside a process that keeps one CPU busy (a shell loop), and without it."""

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer
from benchmarks.figures import OPREL, Figure
from benchmarks.models import BenchModel, all_models
from benchmarks.processes import looping, running_daemon

TOKENS = 32
ALONE = "alone"


def measure(bench: Bench) -> Iterator[Figure]:
    for model in all_models()[1:]:
        yield beside_a_loop(bench, model)


def beside_a_loop(bench: Bench, model: BenchModel) -> Figure:
    with running_daemon() as daemon:
        daemon.engine(model.name)
        server = ChatServer(daemon.address, model.name)

        def alone() -> Values:
            return {"tokens/s": server.send(TOKENS).tokens_per_second}

        def beside() -> Values:
            with looping():
                return alone()

        sides: dict[str, Callable[[], Values]] = {OPREL: beside, ALONE: alone}
        rounds = bench.compare(sides)["tokens/s"]
    return Figure(subject="neighbour", name=f"{model.label} beside a loop: tokens/s", unit="/s", rounds=rounds)
