"""How much of their prompts conversations evaluate again when there are more of them than slots.

Each has two turns; those of all conversations come before the second of any. The engine alone, which gets the same
conversations, chooses a slot by itself.
"""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from benchmarks.bench import Bench, Values
from benchmarks.figures import ENGINE, OPREL, Figure
from benchmarks.models import GUIDE
from benchmarks.processes import over_socket, peak_bytes, running_daemon

WORDS = "the sea is grey and old ships come home with salt on their sails while gulls cry over the harbour wall".split()
SLOTS, CONVERSATIONS, LENGTH = 4, 8, 150  # words
ANSWER = 16  # tokens
NEW_TOKENS = 40  # at most, of the second question and the template's marks around it
Message = dict[str, str]


@dataclass(frozen=True)
class Turn:
    """The engine's counts of a prompt, in tokens."""

    answer: Message
    prompt: int
    cached: int


Ask = Callable[[list[Message]], Turn]


@dataclass
class Conversation:
    ask: Ask
    messages: list[Message] = field(default_factory=list)

    def say(self, question: str) -> Turn:
        self.messages.append({"role": "user", "content": question})
        turn = self.ask(self.messages)
        self.messages.append(turn.answer)
        return turn


def measure(bench: Bench) -> Iterator[Figure]:
    with running_daemon(settings={"parallel": SLOTS, "runaway_guard": "off"}) as daemon:
        engine, status = daemon.engine(GUIDE.name), daemon.loaded(GUIDE.name)
        with over_socket(engine.socket) as http:
            dice = random.Random(1)
            sides = {
                OPREL: lambda: talk(asks_daemon(daemon.http), dice),
                ENGINE: lambda: talk(asks_engine(http), dice),
            }
            rounds = bench.compare(sides)["again"]
        peak = {OPREL: (peak_bytes(engine.pid) / 1e6,), "reserved": (status.host_bytes / 1e6,)}
    yield Figure(subject="conversations", name="evaluated again in the second turn", unit="%", rounds=rounds)
    yield Figure(subject="conversations", name="peak of the engine's memory", unit="MB", rounds=peak)


def asks_daemon(http: httpx.Client) -> Ask:
    def ask(messages: list[Message]) -> Turn:
        options = {"num_predict": ANSWER, "seed": 1}
        body = {"model": GUIDE.name, "think": False, "messages": messages, "stream": False, "options": options}
        answer = http.post("/api/chat", json=body).raise_for_status().json()
        return Turn(answer["message"], answer["prompt_eval_count"], answer.get("prompt_eval_cached_count", 0))

    return ask


def asks_engine(http: httpx.Client) -> Ask:
    def ask(messages: list[Message]) -> Turn:
        template = {"enable_thinking": False}
        body = {"messages": messages, "max_tokens": ANSWER, "seed": 1, "chat_template_kwargs": template}
        answer = http.post("/v1/chat/completions", json=body).raise_for_status().json()
        cached = answer["timings"]["cache_n"]
        return Turn(answer["choices"][0]["message"], cached + answer["timings"]["prompt_n"], cached)

    return ask


def talk(ask: Ask, dice: random.Random) -> Values:
    """New conversations, as many at once as there are slots."""
    conversations = [Conversation(ask) for _ in range(CONVERSATIONS)]
    stories = [" ".join(dice.choice(WORDS) for _ in range(LENGTH)) for _ in conversations]
    with ThreadPoolExecutor(SLOTS) as pool:
        first = list(pool.map(lambda both: both[0].say(both[1]), zip(conversations, stories, strict=True)))
        second = list(pool.map(lambda conversation: conversation.say("And then?"), conversations))
    again = sum(max(0, turn.prompt - turn.cached - NEW_TOKENS) for turn in second)
    return {"again": again / sum(turn.prompt for turn in first) * 100}
