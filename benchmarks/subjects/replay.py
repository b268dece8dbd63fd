"""The daemon alone, on an engine that replays recorded events as fast as they are read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import Bench, Values
from benchmarks.figures import Figure
from benchmarks.load import send
from benchmarks.processes import Daemon, running_daemon
from tests.replay.programs import compiled

STREAMS = (1, 8, 32, 128)
TOKENS, REQUESTS = 200, 16  # of an answer; of one stream, or shared by several
CHAT_TOKENS, CHATS = 17, 100
RATE, COST = "tokens/s", "CPU µs a token"


@dataclass(frozen=True)
class Dialect:
    name: str
    path: str

    def body(self, tokens: int) -> dict[str, object]:
        messages = [{"role": "user", "content": f"REPLAY tokens={tokens} batch=1 pace=0"}]
        return {"model": "guide", "stream": True, "messages": messages}


DIALECTS = (Dialect("NDJSON", "/api/chat"), Dialect("/v1", "/v1/chat/completions"))


def measure(bench: Bench) -> Iterator[Figure]:
    """Tokens per second and CPU time a token over the number of streams, and CPU time of a short chat."""
    settings = {"engine_path": compiled("replay_engine"), "parallel": max(STREAMS), "keep_alive": "-1"}
    with ExitStack() as stack:
        daemons = {
            side: stack.enter_context(running_daemon(checkout, **settings))
            for side, checkout in bench.checkouts.items()
        }

        def rounds(measured: Callable[[Daemon], Values]) -> dict[str, dict[str, tuple[float, ...]]]:
            return bench.compare({side: partial(measured, daemon) for side, daemon in daemons.items()})

        for dialect in DIALECTS:
            for streams in STREAMS:
                for name, values in rounds(partial(growth, dialect, streams)).items():
                    unit = "/s" if name == RATE else "µs"
                    yield Figure(
                        subject="replay", name=f"{dialect.name}: {name}", unit=unit, rounds=values, streams=streams
                    )
            for name, values in rounds(partial(chats, dialect)).items():
                yield Figure(subject="replay", name=f"{dialect.name}: {name}", unit="ms", rounds=values)


def growth(dialect: Dialect, streams: int, daemon: Daemon) -> Values:
    began = daemon.cpu_seconds()
    requests = max(1, REQUESTS // streams)
    load = send(daemon.address, dialect.path, dialect.body(TOKENS), streams=streams, requests=requests)
    spent = daemon.cpu_seconds() - began
    return {RATE: load.tokens_per_second, COST: spent / load.tokens * 1e6}


def chats(dialect: Dialect, daemon: Daemon) -> Values:
    began = daemon.cpu_seconds()
    send(daemon.address, dialect.path, dialect.body(CHAT_TOKENS), requests=CHATS)
    return {f"CPU a chat of {CHAT_TOKENS} tokens": (daemon.cpu_seconds() - began) / CHATS * 1e3}
