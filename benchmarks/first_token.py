"""Time to first token through a warm daemon, compared with direct requests to the same engine.

usage: bin/bench first-token [--model FILE] [--rounds 50] [--json]

Each round sends the same chat over the engine's own socket, the daemon's Unix socket and the daemon's TCP port, and
measures until the first piece of text. Connections are kept open if the server allows it. Medians in ms.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks._engines import over_socket
from oprel.client_api import Client
from oprel.core.config import Config
from tests.conftest import running_daemon
from tests.fixtures.gguf_factory import write_tiny_gguf

MESSAGES = [{"role": "user", "content": "hello, how is the sea today?"}]
TOKENS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a .gguf file (default: a generated tiny model)")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        model = (options.model or write_tiny_gguf(Path(folder) / "tiny.gguf")).absolute()
        times = measure(model, Config(home=folder, server_port=0, runaway_guard="off"), options.rounds)
    medians = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    if options.json:
        print(json.dumps({"rounds": options.rounds, "median_ms": medians}))
    else:
        show(medians, options.rounds)
    return 0


def measure(model: Path, config: Config, rounds: int) -> dict[str, list[float]]:
    with running_daemon(config) as daemon, Client(config=config) as client:
        client.load(str(model), keep_alive=-1)
        engine = client.engines().models[0].address.removeprefix("unix:")
        ways = {
            "engine": sender(over_socket(Path(engine)), "/v1/chat/completions", b'"content":"', max_tokens=TOKENS),
            "daemon, Unix socket": sender(
                over_socket(config.socket_path), "/api/chat", b'"content":"', model=str(model)
            ),
            "daemon, TCP": sender(httpx.Client(base_url=daemon.url), "/api/chat", b'"content":"', model=str(model)),
        }
        for send in ways.values():
            send()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, send in ways.items():
                times[name].append(send())
    return times


def sender(http: httpx.Client, path: str, mark: bytes, **extra: object) -> Callable[[], float]:
    """A function that sends one request and returns the seconds until the first piece of text."""
    # Both sides use the sampling of an Ollama request without options.
    sampling = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "seed": 1}
    options = {"options": {"num_predict": TOKENS, **sampling}} if "model" in extra else sampling
    body = json.dumps({"messages": MESSAGES, "stream": True, **extra, **options}).encode()

    def send() -> float:
        began, first, seen = time.perf_counter(), 0.0, b""
        with http.stream("POST", path, content=body) as response:
            for part in response.iter_raw():
                seen += part
                if not first and mark in seen:
                    first = time.perf_counter() - began
        return first

    return send


def show(medians: dict[str, float], rounds: int) -> None:
    base = medians["engine"]
    print(f"first token, median of {rounds}, on {os.cpu_count()} CPUs with Python {sys.version.split()[0]}")
    for name, value in medians.items():
        more = "" if name == "engine" else f"   engine + {value - base:.2f} ms"
        print(f"  {name:22}{value:7.2f} ms{more}")


if __name__ == "__main__":
    sys.exit(main())
