"""Kill the engine at a random point of every answer: are all answers complete and identical, and what does it cost?

usage: bin/bench recovery [--rounds 100] [--json]

Streams answers of guide at temperature 0 in three dialects, undisturbed and with a SIGKILL of the engine after a random
number of lines. Medians; "extra" is the added time of an interrupted answer, to compare with the time of a start.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from oprel.client.own_daemon import stop_daemon
from oprel.client_api import Client
from oprel.core.config import Config

PROMPT = "How do I list my models?"
MESSAGES = [{"role": "user", "content": PROMPT}]
BODY = {"model": "guide", "stream": True, "messages": MESSAGES}
DIALECTS: dict[str, dict[str, object]] = {
    "/api/chat": {**BODY, "think": False, "options": {"temperature": 0}},
    "/v1/chat/completions": {**BODY, "temperature": 0, "reasoning_effort": "none"},
    "/v1/messages": {**BODY, "temperature": 0, "max_tokens": 200, "thinking": {"type": "disabled"}},
}


@dataclass(frozen=True)
class Answer:
    text: str
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as home:
        figures = measure(Config(home=home, server_port=0, log_level="error", runaway_guard="off"), options.rounds)
    if options.json:
        print(json.dumps({"rounds": options.rounds, **figures}))
    else:
        print(f"recovery, {options.rounds} answers with a killed engine, on {os.cpu_count()} CPUs")
        print(f"  complete, identical   {figures['same']:.0f} of {options.rounds}")
        print(f"  killed mid-answer     {figures['killed']:.0f}")
        print(f"  undisturbed answer    {figures['calm_s'] * 1000:7.1f} ms")
        print(f"  start of an engine    {figures['start_s'] * 1000:7.1f} ms")
        print(
            f"  extra                 {figures['extra_s'] * 1000:7.1f} ms   start + {figures['beyond_s'] * 1000:.1f} ms"
        )
    return 0 if figures["same"] == options.rounds else 1


def measure(config: Config, rounds: int) -> dict[str, float]:
    chance = random.Random(1)
    with Client(config=config) as client:
        client.load("guide", keep_alive=-1)
        try:
            transport = httpx.HTTPTransport(uds=str(config.socket_path))
            with httpx.Client(transport=transport, base_url="http://oprel", timeout=60) as http:
                undisturbed = {path: receive(http, path) for path in DIALECTS for _ in range(3)}
                results = [
                    interrupted(client, http, path, chance) for _, path in zip(range(rounds), paths(), strict=False)
                ]
                starts = [start(client) for _ in range(10)]
        finally:
            stop_daemon(config)
    died = [(path, answer) for path, answer, was_killed in results if was_killed]
    usual = statistics.median(answer.seconds for answer in undisturbed.values())
    extra = statistics.median(answer.seconds for _, answer in died) - usual
    return {
        "same": sum(answer.text == undisturbed[path].text for path, answer, _ in results),
        "killed": len(died),
        "calm_s": usual,
        "start_s": statistics.median(starts),
        "extra_s": extra,
        "beyond_s": extra - statistics.median(starts),
    }


def paths() -> Iterator[str]:
    while True:
        yield from DIALECTS


def interrupted(client: Client, http: httpx.Client, path: str, chance: random.Random) -> tuple[str, Answer, bool]:
    """The path, its answer, and whether the engine died before the end of the answer."""
    client.load("guide")
    (engine,) = client.engines().models
    answer = receive(http, path, engine.pid, chance.randrange(1, 12))
    (after,) = client.engines().models
    return path, answer, after.pid not in (None, engine.pid)


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


def start(client: Client) -> float:
    client.unload("guide")
    return (client.load("guide", keep_alive=-1).load_duration or 0) / 1e9


if __name__ == "__main__":
    sys.exit(main())
