"""How much of their prompts conversations evaluate again when there are more of them than slots.

usage: bin/bench conversations [--model FILE] [--conversations 8] [--tokens 1200] [--slots 4]

Through a daemon with its own settings. Each conversation has two turns; those of all conversations come before the
second of any. Prints the share of the second prompts, without what is new in them, that the engine evaluated again by
its own count, and the peak of the engine's memory beside the reserved. Exits with 1 if more than 2 % was evaluated
again, or the peak is larger.
"""

import argparse
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.resident import GEMMA, peak_of
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.telemetry.memory.estimator import MIB
from tests.conftest import running_daemon

MOST = 0.02
WORDS = "the sea is grey and old ships come home with salt on their sails while gulls cry over the harbour wall".split()
NEW_TOKENS = 40  # at most, of the second question and the template's marks around it


@dataclass
class Turn:
    """The engine's counts of a prompt, in tokens, and the seconds until the answer was complete."""

    prompt: int
    cached: int
    seconds: float


@dataclass
class Conversation:
    """Its messages so far."""

    messages: list[dict[str, str]] = field(default_factory=list)

    def ask(self, daemon: httpx.Client, model: str, question: str) -> Turn:
        self.messages.append({"role": "user", "content": question})
        began = time.perf_counter()
        body = {"model": model, "messages": self.messages, "stream": False, "options": {"num_predict": 16, "seed": 1}}
        answer = daemon.post("/api/chat", json=body).raise_for_status().json()
        self.messages.append(answer["message"])
        cached = answer.get("prompt_eval_cached_count", 0)
        return Turn(answer["prompt_eval_count"], cached, time.perf_counter() - began)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=GEMMA)
    parser.add_argument("--conversations", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1200)
    parser.add_argument("--slots", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oprel-bench-") as folder:
        config = Config(home=folder, server_port=0, parallel=options.slots, runaway_guard="off")
        with running_daemon(config) as daemon, Client(config=config) as client:
            with httpx.Client(base_url=daemon.url, timeout=600) as http:
                first, second = talk(http, str(options.model.absolute()), options)
            engine = client.engines().models[0]
            peak = peak_of(engine.pid or 0)
    before = sum(turn.prompt for turn in first)
    again = sum(max(0, turn.prompt - turn.cached - NEW_TOKENS) for turn in second)
    each = before // options.conversations
    print(f"{options.conversations} conversations of {each} tokens over {options.slots} slots")
    print(f"turn 1: {sum(turn.seconds for turn in first):.1f} s, turn 2: {sum(turn.seconds for turn in second):.1f} s")
    print(f"evaluated again in turn 2: {again} of {before} tokens ({again / before:.1%})")
    print(f"peak {peak / MIB:.0f} MiB of {engine.host_bytes / MIB:.0f} MiB reserved")
    return 0 if again <= MOST * before and peak <= engine.host_bytes else 1


def talk(daemon: httpx.Client, model: str, options: argparse.Namespace) -> tuple[list[Turn], list[Turn]]:
    conversations = [Conversation() for _ in range(options.conversations)]

    def turn(number: int, question: str) -> Turn:
        return conversations[number].ask(daemon, model, question)

    def story(number: int) -> str:
        dice = random.Random(number)
        return " ".join(dice.choice(WORDS) for _ in range(options.tokens))

    numbers = range(options.conversations)
    with ThreadPoolExecutor(options.slots) as pool:
        first = list(pool.map(lambda number: turn(number, story(number)), numbers))
        second = list(pool.map(lambda number: turn(number, "And then?"), numbers))
    return first, second


if __name__ == "__main__":
    sys.exit(main())
