"""Eight clients of a mid-size model: by default, with one slot, and with four."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from statistics import fmean

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer
from benchmarks.figures import OPREL, Figure
from benchmarks.models import mid_size
from benchmarks.processes import running_daemon

CLIENTS, TOKENS = 8, 16
SETTINGS: dict[str, dict[str, object]] = {OPREL: {}, "one slot": {"parallel": 1}, "four slots": {"parallel": 4}}
UNITS = {"tokens/s": "/s", "first token": "ms"}


def measure(bench: Bench) -> Iterator[Figure]:
    model = mid_size()
    with ExitStack() as stack:
        sides = {}
        for side, settings in SETTINGS.items():
            daemon = stack.enter_context(running_daemon(settings=settings))
            daemon.engine(model.name)
            sides[side] = partial(of_clients, ChatServer(daemon.address, model.name))
        for name, rounds in bench.compare(sides).items():
            yield Figure(subject="slots", name=f"8 clients: {name}", unit=UNITS[name], rounds=rounds)


def of_clients(server: ChatServer) -> Values:
    load = server.send(TOKENS, streams=CLIENTS)
    # The mean: of eight clients of four slots the half that waits is what counts, and a median may miss it.
    return {"tokens/s": load.tokens_per_second, "first token": fmean(load.first)}
