"""Ask the model file, in the real engine, what it was not trained on: `python evaluate.py oprel/bundled/guide.gguf`.

Wordings and words are those that words.is_held keeps out of training; the questions "by hand" were written apart from
every template. Needs oprel's own environment; with the `tokenizers` package and `--tokenizer` the tokens are compared
too.
"""

import argparse
import contextlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import data
import httpx
import usage
from data import MAKERS, Conversation, Turn

from oprel.cli.main import build_parser

SEED = 20_26
ENOUGH = 160  # tokens; an answer that long does not end by itself

# Written after usage.py's wordings were settled, and never looked at to extend them. The grids of wordings.py came
# later, by an author who had read this file; six of these questions can arise from them, but for marks, numbers, paths.
USAGE_BY_HAND = (
    ("What's the command for seeing loaded models?", "oprel ps"),
    ("Is my model still in memory or was it dropped?", "oprel ps"),
    ("I want to know what's eating my memory", "oprel ps"),
    ("How can I check the models that are running?", "oprel ps"),
    ("how to find the PID of the engine process", "oprel ps"),
    ("I'd like to throw a model out of memory", "oprel stop"),
    ("How can I unload llama.gguf right away?", "oprel stop llama.gguf"),
    ("please stop ./mistral.gguf", "oprel stop ./mistral.gguf"),
    ("my RAM is full, how do I get rid of the model?", "oprel stop"),
    ("How do I ask ./tiny.gguf a question?", "oprel run ./tiny.gguf"),
    ("I downloaded a GGUF file. What is the command to use it?", "oprel run"),
    ("run ~/Downloads/gemma.gguf", "oprel run ~/Downloads/gemma.gguf"),
    ("How do I get an answer from a model in my terminal?", "oprel run"),
    ("I want to have a conversation with phi.gguf", "oprel chat phi.gguf"),
    ("how do I begin a chat session with a model?", "oprel chat"),
    ("How do I talk to the model for longer?", "oprel chat"),
    ("Which models do I have installed on this machine?", "oprel list"),
    ("how can I get a list of installed models?", "oprel list"),
    ("please list my models", "oprel list"),
    ("can you tell me what models I have?", "oprel list"),
    ("What do I run to get the daemon up?", "oprel serve"),
    ("start the API server for me", "oprel serve"),
    ("how do I get the oprel service running?", "oprel serve"),
    ("Run the daemon on port 9191", "oprel serve --server-port 9191"),
    ("how could I make it listen on port 5678?", "oprel serve --server-port 5678"),
    ("Where do I download models from?", "oprel pull"),
    ("How do I install the llama model?", "oprel pull"),
    ("can I pull mistral from the internet?", "oprel pull"),
    ("I need something smarter than you", "oprel pull"),
    ("How can I see which quantization ./x.gguf uses?", "oprel show ./x.gguf"),
    ("show me details about ./qwen2.gguf", "oprel show ./qwen2.gguf"),
    ("Which version of oprel am I using?", "oprel --version"),
    ("Where does oprel write its log?", "daemon.log"),
    ("I want to call it from a Python script", "oprel.chat"),
    ("How do I connect my Ollama app?", "11435"),
    ("what is the default port of the server?", "11435"),
    ("I'd like to quit the chat now", "Ctrl-D"),
    ("How do I give the model a larger context window?", "--ctx-size"),
    ("set the context to 9000 tokens", "--ctx-size 9000"),
    ("How do I keep a model in memory forever?", "--keep-alive -1"),
    ("Limit the engine to 6 threads", "--n-threads 6"),
    ("What commands does oprel offer?", "oprel --help"),
    ("where should I put my configuration?", "config.yaml"),
    ("So what exactly does oprel do?", "local daemon"),
    ("Can I use oprel without an internet connection?", "on this machine"),
    ("how do I make embeddings of my documents?", ".embed("),
    ("How fast does ./a.gguf generate?", "--verbose"),
    ("can other computers on my network use the daemon?", "--server-host 0.0.0.0"),
)

OUTSIDE_BY_HAND = (
    "Why do cats purr?",
    "What is the capital of Mongolia?",
    "Write a limerick about my neighbour's lawn mower.",
    "What's 17 * 23?",
    "Who wrote War and Peace?",
    "Translate 'good morning' into Finnish.",
    "How do I boil an egg?",
    "asdkjh qwe zxc",
    "Explain quantum entanglement to a five year old.",
    "How long does it take to fly to Mars?",
    "def fib(n): return n if n < 2 else fib(n-1) + fib(n-2)",
    "What year did the Berlin wall fall?",
    "Can you recommend a good restaurant in Tokyo?",
    "How tall is Mount Everest?",
    "Is a tomato a fruit?",
    "What is the airspeed of an unladen swallow?",
    "Quelle est la capitale de la France ?",
    "Wie spät ist es?",
    "Who is the president of the United States?",
    "How do I fix a flat tyre on my bicycle?",
    "Sort this list: 3, 1, 2",
    "My girlfriend left me.",
    "Is it going to rain tomorrow?",
    "I feel lonely today.",
    "What should I name my puppy?",
    "How does a microwave oven work?",
    "What is the best programming language?",
    "blorp",
    "Which stocks should I buy?",
    "Summarise the plot of Hamlet.",
    "How many legs does a spider have?",
    "List three European rivers.",
    "Show me a picture of a horse.",
    "How do I stop my dog from barking?",
    "What are the health benefits of green tea?",
    "Please write a cover letter for a job as a nurse.",
    "What's the best way to learn piano?",
    "When is Easter this year?",
    "How many users does Facebook have?",
    "Can you play chess with me?",
)


@dataclass(frozen=True)
class Answer:
    text: str
    thought: str
    calls: list[tuple[str, Any]]
    ended: bool
    tokens_per_second: float


@dataclass(frozen=True)
class Score:
    name: str
    right: int
    asked: int
    floor: float


@contextlib.contextmanager
def engine(model: Path) -> Iterator[httpx.Client]:
    """The wheel's engine as oprel runs it."""
    with tempfile.TemporaryDirectory() as folder:
        socket, log = Path(folder) / "engine.sock", Path(folder) / "engine.log"
        command = [sys.executable, "-m", "oprel.runtime.binaries.wheel", "--model", str(model), "--host", str(socket),
                   "--threads", "2", "--parallel", "2", "--ctx-size", "2048"]  # fmt: skip
        with log.open("w") as stderr, subprocess.Popen(command, stdout=stderr, stderr=stderr) as process:
            try:
                transport = httpx.HTTPTransport(uds=str(socket))
                with httpx.Client(transport=transport, base_url="http://engine", timeout=120) as client:
                    _wait(client, process, log)
                    yield client
            finally:
                process.terminate()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").is_success:
                return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the engine does not start:\n{log.read_text()[-2000:]}")


def ask(client: httpx.Client, made: Conversation) -> Answer:
    body: dict[str, Any] = {"messages": data.messages(made), "temperature": 0, "max_tokens": ENOUGH,
                            "chat_template_kwargs": {"enable_thinking": made.thinking}}  # fmt: skip
    if made.tools:
        body["tools"] = [tool.schema for tool in made.tools]
    reply = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    choice = reply["choices"][0]
    message = choice["message"]
    calls = [(call["function"]["name"], json.loads(call["function"]["arguments"] or "{}"))
             for call in message.get("tool_calls") or [] if choice["finish_reason"] != "length"]  # fmt: skip
    return Answer(message.get("content") or "", message.get("reasoning_content") or "", calls,
                  choice["finish_reason"] != "length", reply["timings"]["predicted_per_second"])  # fmt: skip


class Examination:
    def __init__(self, client: httpx.Client, size: int, show: bool, seed: int) -> None:
        self._client, self._size, self._show, self._seed = client, size, show, seed
        self.answers: list[Answer] = []

    def answered(self, conversations: list[Conversation]) -> list[Answer]:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda made: ask(self._client, made), conversations))
        self.answers += answers
        return answers

    def made(self, kind: str, ability: str = "", thinking: bool = False) -> list[Conversation]:
        """Held-out conversations of one kind."""
        rng = random.Random(f"{self._seed} {kind} {ability}")
        found: list[Conversation] = []
        while len(found) < self._size:
            one = MAKERS[kind](rng, True)
            if not ability or one.ability == ability:
                found.append(replace(one, thinking=thinking))
        return found

    def score(self, name: str, conversations: list[Conversation], floor: float, part: bool = False) -> Score:
        """How many last answers are right; with `part`, those that hold `expected`."""
        right = 0
        for made, answer in zip(conversations, self.answered(conversations), strict=True):
            last = made.turns[-1]
            good = _holds(answer.text, made.expected) if part else _right(last, answer)
            good = good and (bool(answer.thought) or not made.thinking)
            right += good
            if self._show and not good:
                print(f"  {name}: {last.user!r} -> {answer.text or answer.calls!r}, not {last.call or last.answer!r}")
        return Score(name, right, len(conversations), floor)

    def all(self) -> list[Score]:
        by_hand = [
            Conversation([Turn(question, command, "")], "", expected=command) for question, command in USAGE_BY_HAND
        ]
        strange = [Conversation([Turn(question, data.OUTSIDE, "")], "") for question in OUTSIDE_BY_HAND]
        return [
            self.score("usage, right command", self.made("usage"), 0.85, part=True),
            self.score("usage, whole answer", self.made("usage"), 0),
            self.score("usage by hand, right command", by_hand, 0, part=True),
            self.score("usage, thinking", self.made("usage", thinking=True), 0),
            self.score("small talk and identity", self.made("small talk"), 0),
            self.score("outside: says so", self.made("outside"), 0),
            self.score("outside by hand: says so", strange, 0),
            self.score("recall, right value", self.made("recall"), 0.80, part=True),
            self.score("recall, right value, thinking", self.made("recall", thinking=True), 0, part=True),
            self.score("not told: says so", self.made("not told"), 0),
            self.score("tool call, name and arguments", self.made("tools", "tool call"), 0.80),
            self.score("tool call, thinking", self.made("tools", "tool call", thinking=True), 0),
            self.no_call(),
            self.score("no tool fits: right answer", self.made("no tool"), 0),
            self.score("tool result told", self.made("tools", "tool result"), 0),
        ]

    def no_call(self) -> Score:
        answers = self.answered(self.made("no tool"))
        return Score("no tool fits: no call", sum(not answer.calls for answer in answers), len(answers), 0.90)

    def ends(self) -> Score:
        return Score("the answer ends by itself", sum(a.ended for a in self.answers), len(self.answers), 0.98)


def _holds(text: str, command: str) -> bool:
    """Whether the command is there, and not as the beginning of another: `oprel list` is not in `oprel list --json`."""
    return re.search(rf"(?<!\w){re.escape(command)}(?!\w| --)", text) is not None


def _right(turn: Turn, answer: Answer) -> bool:
    if turn.call:
        return answer.calls == [turn.call]
    return answer.text.strip() == turn.answer and not answer.calls


def same_prompts(client: httpx.Client, tokenizer: Path | None) -> None:
    """The template and the tokens of the engine must be those of the training."""
    rng = random.Random(SEED)
    for index in range(200):
        made = data.conversation(rng, held=index % 2 == 0)
        pieces = [text for text, _ in data.written(made)]
        whole = "".join(pieces)
        prompt = whole[: whole.rindex("<think>\n" if made.thinking else "</think>\n")]
        prompt += "<think>\n" if made.thinking else "</think>\n"
        body = {"messages": data.messages(made), "tools": [tool.schema for tool in made.tools],
                "chat_template_kwargs": {"enable_thinking": made.thinking}}  # fmt: skip
        rendered = client.post("/apply-template", json=body).raise_for_status().json()["prompt"]
        if rendered != prompt:
            raise SystemExit(f"the engine writes\n{rendered}\nwhere the training has\n{prompt}")
        if tokenizer:
            _same_tokens(client, tokenizer, whole)
    print("200 prompts are written" + (" and tokenized" if tokenizer else "") + " as in training")


def _same_tokens(client: httpx.Client, tokenizer: Path, text: str) -> None:
    from tokenizers import Tokenizer  # only the training environment has it

    ours = Tokenizer.from_file(str(tokenizer)).encode(text, add_special_tokens=False).ids
    theirs = client.post("/tokenize", json={"content": text, "add_special": False, "parse_special": True}).json()
    if ours != theirs["tokens"]:
        raise SystemExit(f"tokens differ: {ours} and {theirs['tokens']} for\n{text}")


def table(scores: list[Score]) -> bool:
    missed = False
    for score in scores:
        share = score.right / max(1, score.asked)
        missed |= share < score.floor
        floor = f"floor {score.floor:.0%}" + (" MISSED" if share < score.floor else "") if score.floor else ""
        print(f"{score.name:32} {score.right:4} of {score.asked:4}  {share:6.1%}  {floor}".rstrip())
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Examine a guide.gguf in the real engine.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--size", type=int, default=100, help="questions an ability")
    parser.add_argument("--seed", type=int, default=SEED, help="another number asks other questions")
    parser.add_argument("--show", action="store_true", help="print what is wrong")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of the training")
    args = parser.parse_args()
    if unknown := usage.unknown_commands(build_parser()):
        raise SystemExit(f"guide teaches what oprel does not have: {unknown}")
    began = time.monotonic()
    with engine(args.model) as client:
        same_prompts(client, args.tokenizer)
        examination = Examination(client, args.size, args.show, args.seed)
        scores = examination.all()
        missed = table([*scores, examination.ends()])
        alone = [ask(client, made).tokens_per_second for made in examination.made("usage")[:20]]
    speed, size = sorted(alone)[len(alone) // 2], args.model.stat().st_size / 1e6
    print(f"{speed:.0f} tokens/s (median of single requests), {size:.2f} MB, "
          f"examined in {time.monotonic() - began:.0f} s")  # fmt: skip
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
