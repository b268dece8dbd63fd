"""Answers whose engine is killed at a random token: are they the same, and how much longer do they take?"""

import contextlib
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import httpx

from benchmarks.bench import Bench
from benchmarks.figures import OPREL, Figure
from benchmarks.processes import Daemon, running_daemon

MESSAGES = [{"role": "user", "content": "How do I list my models?"}]
BODY = {"model": "guide", "stream": True, "messages": MESSAGES}
DIALECTS: dict[str, dict[str, object]] = {
    "/api/chat": {**BODY, "think": False, "options": {"temperature": 0}},
    "/v1/chat/completions": {**BODY, "temperature": 0, "reasoning_effort": "none"},
    "/v1/messages": {**BODY, "temperature": 0, "max_tokens": 200, "thinking": {"type": "disabled"}},
}
KILLS = 20  # in a round
START = "start of an engine"


@dataclass(frozen=True)
class Answer:
    text: str
    seconds: float


@dataclass(frozen=True)
class Round:
    """The share of answers that were as undisturbed, and in ms what a kill added and how long a start takes."""

    same: float
    extra: float
    start: float


def measure(bench: Bench) -> Iterator[Figure]:
    chance = random.Random(1)
    with running_daemon(settings={"log_level": "error", "runaway_guard": "off"}) as daemon:
        daemon.loaded("guide")
        rounds = [kill_engines(daemon, chance) for _ in range(bench.rounds)]
    same = {OPREL: tuple(round.same for round in rounds)}
    extra = {OPREL: tuple(round.extra for round in rounds), START: tuple(round.start for round in rounds)}
    yield Figure(subject="recovery", name="answers that are complete and the same", unit="of 1", rounds=same)
    yield Figure(subject="recovery", name="what the loss of an engine adds", unit="ms", rounds=extra)


def kill_engines(daemon: Daemon, chance: random.Random) -> Round:
    undisturbed = {path: receive(daemon.http, path) for path in DIALECTS for _ in range(3)}
    usual = {path: statistics.median(receive(daemon.http, path).seconds for _ in range(3)) for path in DIALECTS}
    results = [(path, *interrupted(daemon, path, chance)) for _, path in zip(range(KILLS), cycle(DIALECTS))]
    extra = [answer.seconds - usual[path] for path, answer, was_killed in results if was_killed]
    starts = [start(daemon) for _ in range(5)]
    same = sum(answer.text == undisturbed[path].text for path, answer, _ in results)
    return Round(same / KILLS, statistics.median(extra) * 1e3, statistics.median(starts) * 1e3)


def interrupted(daemon: Daemon, path: str, chance: random.Random) -> tuple[Answer, bool]:
    """An answer, and whether the engine died before its end."""
    engine = daemon.loaded("guide")
    answer = receive(daemon.http, path, engine.pid, chance.randrange(1, 12))
    (after,) = daemon.client.engines().models
    return answer, after.pid not in (None, engine.pid)


def receive(http: httpx.Client, path: str, engine: int | None = None, kill_at: int = -1) -> Answer:
    began, lines = time.perf_counter(), list[str]()
    with http.stream("POST", path, json=DIALECTS[path]) as response:
        for line in response.iter_lines():
            lines.append(line)
            if engine and len(lines) == kill_at:
                with contextlib.suppress(ProcessLookupError):  # an engine killed after the previous answer
                    os.kill(engine, signal.SIGKILL)
    return Answer("".join(map(text_of, lines)), time.perf_counter() - began)


def text_of(line: str) -> str:
    data = line.removeprefix("data: ")
    if not data.startswith("{"):
        return "" if data != "[DONE]" else "\n"
    event = json.loads(data)
    if "message" in event and "content" in event["message"] and "done" in event:
        return str(event["message"]["content"]) + ("\n" if event["done"] else "")
    choices = event.get("choices") or [{}]
    delta = event.get("delta", {})
    end = "\n" if event.get("type") == "message_stop" else ""
    return str(choices[0].get("delta", {}).get("content") or "") + str(delta.get("text", "")) + end


def start(daemon: Daemon) -> float:
    """Seconds that a load takes."""
    daemon.client.unload("guide")
    return (daemon.client.load("guide", keep_alive=-1).load_duration or 0) / 1e9
