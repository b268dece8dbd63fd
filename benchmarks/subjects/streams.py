"""Tokens per second over the number of streams, and the time between tokens, with real models."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer, chat_servers
from benchmarks.figures import Figure, percentile
from benchmarks.models import GUIDE, BenchModel, all_models
from benchmarks.processes import THIS, running_daemon, until_ready

RATE, GAP = "tokens/s", "between tokens"
TOKENS = {1: 32, 8: 12, 32: 8}  # of an answer, by streams
FAST = 6  # so many times as many of guide
DEFAULTS = "engine with its own defaults"
MOST = max(TOKENS)


def measure(bench: Bench) -> Iterator[Figure]:
    for model in all_models():
        with chat_servers(bench, model) as servers:
            for streams in TOKENS:
                sides = {side: partial(answers, model, streams, server) for side, server in servers.items()}
                for name, rounds in bench.compare(sides).items():
                    unit = "/s" if name == RATE else "ms"
                    yield Figure(
                        subject="streams", name=f"{model.label}: {name}", unit=unit, rounds=rounds, streams=streams
                    )
    yield beside_defaults(bench, GUIDE)


def answers(model: BenchModel, streams: int, server: ChatServer) -> Values:
    load = server.send(TOKENS[streams] * (FAST if model is GUIDE else 1), streams=streams)
    gaps = {f"{GAP}, p{share}": percentile(load.gaps, share / 100) for share in (50, 95, 99)}
    return {RATE: load.tokens_per_second} | gaps


def beside_defaults(bench: Bench, model: BenchModel) -> Figure:
    """Through the daemon with its settings, and on an engine that is started with nothing but the model."""
    with TemporaryDirectory(prefix="oprel-bench-") as folder, running_daemon(THIS) as daemon:
        socket = Path(folder) / "engine.sock"
        engine = daemon.engine(model.name)
        with engine.starting(engine.defaults_on(socket), socket) as process:
            until_ready(socket, process)
            servers = {"oprel": ChatServer(daemon.address, model.name), DEFAULTS: ChatServer(f"unix:{socket}")}
            sides = {side: partial(answers, model, MOST, server) for side, server in servers.items()}
            rounds = bench.compare(sides)[RATE]
    return Figure(
        subject="streams", name=f"{model.label}, planned settings: {RATE}", unit="/s", rounds=rounds, streams=MOST
    )
