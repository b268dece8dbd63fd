"""Milliseconds until the first token of a warm model, one request at a time."""

from collections.abc import Iterator
from functools import partial

from benchmarks.bench import Bench, Values
from benchmarks.chats import ChatServer, chat_servers
from benchmarks.figures import Figure, percentile
from benchmarks.models import GUIDE

REQUESTS, TOKENS = 100, 4


def measure(bench: Bench) -> Iterator[Figure]:
    with chat_servers(bench, GUIDE) as servers:
        sides = {side: partial(first_tokens, server) for side, server in servers.items()}
        for name, rounds in bench.compare(sides).items():
            yield Figure(subject="first-token", name=name, unit="ms", rounds=rounds)


def first_tokens(server: ChatServer) -> Values:
    first = server.send(TOKENS, requests=REQUESTS).first
    return {"median": percentile(first, 0.5), "p99": percentile(first, 0.99)}
