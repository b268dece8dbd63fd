"""The daemon alone, on an engine that replays recorded events as fast as they are read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import truediv

from benchmarks.bench import Bench, Values
from benchmarks.figures import ENGINE, OPREL, Figure, Rounds, percentile
from benchmarks.load import send
from benchmarks.processes import Daemon, cpu_seconds, forget_peak, peak_bytes, resident_bytes, running_daemon
from tests.replay.programs import compiled

STREAMS = (1, 8, 32, 128)
TOKENS, REQUESTS = 400, 8  # of an answer; of one stream, or shared by several
SHORT, CHATS = 17, 100
LONG, LONG_CHATS = 1000, 8
RATE, COST = "tokens/s", "CPU a token"  # with what its share of a request costs
CHAT, FURTHER = f"CPU a chat of {SHORT} tokens", f"CPU a further token, up to {LONG}"
UNITS = {RATE: "/s", COST: "µs", CHAT: "ms", FURTHER: "µs"}
# As an engine at work: answers of a second, begun one after the other.
PACED_STREAMS, PACED_TOKENS, PACE_MS = 32, 50, 20


@dataclass(frozen=True)
class Dialect:
    name: str
    path: str

    def body(self, tokens: int, pace_ms: int = 0) -> dict[str, object]:
        messages = [{"role": "user", "content": f"REPLAY tokens={tokens} batch=1 pace={pace_ms * 1000}"}]
        return {"model": "guide", "stream": True, "messages": messages}


NDJSON, V1 = Dialect("NDJSON", "/api/chat"), Dialect("/v1", "/v1/chat/completions")


def measure(bench: Bench) -> Iterator[Figure]:
    settings = {"engine_path": compiled("replay_engine"), "parallel": max(STREAMS)}
    with ExitStack() as stack:
        daemons = {
            side: stack.enter_context(running_daemon(checkout, settings)) for side, checkout in bench.checkouts.items()
        }
        memory = {side: (memory_of_streams(daemon),) for side, daemon in daemons.items()}
        yield Figure(subject="replay", name="memory a stream", unit="kB", rounds=memory, streams=max(STREAMS))
        for dialect in (NDJSON, V1):
            costs = []
            for streams in STREAMS:
                figures = compared(bench, daemons, partial(growth, dialect, streams))
                costs.append(figures[COST])
                for name, rounds in figures.items():
                    title, unit = f"{dialect.name}: {name}", UNITS[name]
                    yield Figure(subject="replay", name=title, unit=unit, rounds=rounds, streams=streams)
            name = f"{dialect.name}: {COST}, {STREAMS[-1]} streams ÷ {STREAMS[0]}"
            yield Figure(subject="replay", name=name, unit="", rounds=quotient(costs[-1], costs[0]))
            for name, rounds in compared(bench, daemons, partial(cpu_of_chats, dialect)).items():
                yield Figure(subject="replay", name=f"{dialect.name}: {name}", unit=UNITS[name], rounds=rounds)
        yield first_token(bench, daemons)


def compared(bench: Bench, daemons: dict[str, Daemon], measured: Callable[[Daemon], Values]) -> dict[str, Rounds]:
    return bench.compare({side: partial(measured, daemon) for side, daemon in daemons.items()})


def memory_of_streams(daemon: Daemon) -> float:
    """What the first streams side by side add to a daemon that has answered one request, in kB a stream."""
    send(daemon.address, NDJSON.path, NDJSON.body(TOKENS))
    before = resident_bytes(daemon.pid)
    forget_peak(daemon.pid)
    send(daemon.address, NDJSON.path, NDJSON.body(TOKENS), streams=max(STREAMS))
    return (peak_bytes(daemon.pid) - before) / max(STREAMS) / 1e3


def quotient(rounds: Rounds, others: Rounds) -> Rounds:
    return {side: tuple(map(truediv, values, others[side])) for side, values in rounds.items()}


def growth(dialect: Dialect, streams: int, daemon: Daemon) -> Values:
    """Of streams that are read as fast as the daemon can write them."""
    before = cpu_seconds(daemon.pid)
    requests = max(1, REQUESTS // streams)
    load = send(daemon.address, dialect.path, dialect.body(TOKENS), streams=streams, requests=requests)
    spent = cpu_seconds(daemon.pid) - before
    return {RATE: load.tokens_per_second, COST: spent / load.tokens * 1e6}


def cpu_of_chats(dialect: Dialect, daemon: Daemon) -> Values:
    """Of one client, whose chats are short, then long."""
    began = cpu_seconds(daemon.pid)
    send(daemon.address, dialect.path, dialect.body(SHORT), requests=CHATS)
    between = cpu_seconds(daemon.pid)
    send(daemon.address, dialect.path, dialect.body(LONG), requests=LONG_CHATS)
    short, long = (between - began) / CHATS, (cpu_seconds(daemon.pid) - between) / LONG_CHATS
    return {CHAT: short * 1e3, FURTHER: (long - short) / (LONG - SHORT) * 1e6}


def first_token(bench: Bench, daemons: dict[str, Daemon]) -> Figure:
    """Through the daemons and from the engine alone, with answers at the pace of an engine at work."""
    sides = {side: partial(paced, NDJSON, daemon.address) for side, daemon in daemons.items()}
    sides[ENGINE] = partial(paced, V1, daemons[OPREL].engine("guide").address)
    rounds = bench.compare(sides)["ms"]
    return Figure(subject="replay", name="first token", unit="ms", rounds=rounds, streams=PACED_STREAMS)


def paced(dialect: Dialect, address: str) -> Values:
    stagger = PACED_TOKENS * PACE_MS // PACED_STREAMS
    body = dialect.body(PACED_TOKENS, PACE_MS)
    load = send(address, dialect.path, body, streams=PACED_STREAMS, requests=3, stagger_ms=stagger)
    return {"ms": percentile(load.first, 0.5)}
