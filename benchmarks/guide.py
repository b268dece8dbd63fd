"""The bundled model: seconds from a stopped daemon to the last token, and tokens per second.

usage: bin/bench guide [--rounds 10] [--json]

Runs `oprel run guide` as a process, without a daemon (it is stopped before each run) and with a warm one. Medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from oprel.client_api import Client
from oprel.core.config import Config

PROMPT = "How do I list my models?"
OPREL = [sys.executable, "-P", "-m", "oprel"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as home:
        figures = measure(home, options.rounds)
    if options.json:
        print(json.dumps({"rounds": options.rounds, **figures}))
        return 0
    print(f"guide, median of {options.rounds}, on {os.cpu_count()} CPUs")
    print(f"  no daemon, prompt to last token     {figures['cold_s']:6.2f} s")
    print(f"  warm daemon                         {figures['warm_s']:6.2f} s")
    print(f"  one stream                          {figures['tokens_per_s']:6.0f} tokens/s")
    return 0


def measure(home: str, rounds: int) -> dict[str, float]:
    environment = {**os.environ, "OPREL_HOME": home, "OPREL_SERVER_PORT": "0"}

    def seconds(*command: str) -> float:
        began = time.perf_counter()
        subprocess.run([*OPREL, *command], env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    cold, warm = [], []
    for _ in range(rounds):
        cold.append(seconds("run", "guide", PROMPT))
        warm.append(seconds("run", "guide", PROMPT))
        seconds("stop", "--daemon")
    with Client(config=Config(home=home, server_port=0, runaway_guard="off")) as client:
        rates = [rate(client) for _ in range(rounds)]
    seconds("stop", "--daemon")
    return {
        "cold_s": statistics.median(cold),
        "warm_s": statistics.median(warm),
        "tokens_per_s": statistics.median(rates),
    }


def rate(client: Client) -> float:
    reply = client.generate("guide", PROMPT, options={"num_predict": 200, "temperature": 1.5})
    return (reply.eval_count or 0) / (reply.eval_duration or 1) * 1e9


if __name__ == "__main__":
    sys.exit(main())
