"""An answer outlives its engine: killed in mid-answer, it ends as if nothing had happened."""

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures import fake_engine

pytestmark = pytest.mark.long

LENGTH = 1000  # tokens: long enough for the kill to come in time
ATTEMPTS = 100  # a busy machine lets a small engine finish before the kill, most of the time
OPTIONS = {"temperature": 0, "num_predict": LENGTH, "seed": 1}
HELLO = [{"role": "user", "content": "hello"}]
Event = dict[str, object]


@dataclass
class Stage:
    """A daemon with one model, and its engine that is to be killed."""

    daemon: RunningDaemon
    http: httpx.Client
    model: str

    @property
    def engine(self) -> int:
        """The process to kill; not one that is dead already and not yet missed."""

        def found() -> int:
            self.http.post("/load", json={"model": self.model})
            (engine,) = self.http.get("/models").json()["models"]
            return int(engine["pid"] or 0)

        eventually(lambda: alive(found()))
        return found()

    @property
    def recoveries(self) -> int:
        return self.daemon.log.count("goes on with another engine")

    def hear(self, path: str, body: dict[str, object], kill_at: int = -1) -> list[str]:
        """The lines of a stream; the engine is killed after so many of them."""
        lines: list[str] = []
        engine = self.engine if kill_at > 0 else 0
        with self.http.stream("POST", path, json={"model": self.model, "stream": True, **body}) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                lines.append(line)
                if len(lines) == kill_at:
                    os.kill(engine, signal.SIGKILL)
                    eventually(lambda: not alive(engine))  # or the next one asked for might be this one still
        return lines


@pytest.fixture
def stage(start_daemon: Callable[..., RunningDaemon]) -> Iterator[Callable[..., Stage]]:
    with httpx.Client(timeout=DEADLINE) as client:

        def raised(model: str | Path, **settings: object) -> Stage:
            daemon = start_daemon(**settings)
            client.base_url = daemon.url
            return Stage(daemon, client, str(model))

        yield raised


@pytest.fixture
def frail(stage: Callable[..., Stage], home: Path, tiny: Path) -> Callable[..., Stage]:
    """An engine that dies on cue, once."""

    def raised(**faults: object) -> Stage:
        program = fake_engine.install(home / "engine", dies_once=str(home / "died"), **faults)
        return stage(tiny, engine_path=str(program))

    return raised


def objects(lines: list[str]) -> list[dict[str, object]]:
    found = [json.loads(line) for line in lines]
    assert found[-1].get("done"), found[-1]
    return found


def text(lines: list[str]) -> str:
    return "".join(str(json.loads(line).get("response", "")) for line in lines)


def test_killed_at_random_a_plain_answer_is_whole(stage: Callable[..., Stage], endless: Path) -> None:
    """Of a model whose tokens no tokenizer would choose. It cannot be asked for the same text: to a random model two
    tokens are at times so nearly equal that the last bits decide, in which prefill and decoding differ."""
    scene = stage(endless)
    body: dict[str, object] = {"prompt": "hello", "raw": True, "options": OPTIONS}
    calm = scene.hear("/api/generate", body)
    assert "recoveries" not in objects(calm)[-1]
    hits = 0
    for kill_at in random.Random(5).choices(range(1, 60), k=ATTEMPTS):
        hurt = scene.hear("/api/generate", body, kill_at)
        assert text(hurt[:kill_at]) == text(calm[:kill_at])
        last, undisturbed = objects(hurt)[-1], objects(calm)[-1]
        for count in ("eval_count", "prompt_eval_count"):
            assert last[count] == undisturbed[count]
        hits += last.get("recoveries") == 1  # on a busy machine its whole answer is at times there before the kill
        if hits == 3:
            return
    raise AssertionError("no kill came in time")


@pytest.mark.parametrize("think", [False, True])
def test_guide_says_the_same_whenever_it_is_killed(stage: Callable[..., Stage], think: bool) -> None:
    scene = stage("guide")
    body: dict[str, object] = {"messages": HELLO, "think": think, "options": OPTIONS}

    def told(lines: list[str]) -> list[str]:
        messages = [one["message"] for one in objects(lines)]
        return ["".join(message.get(part, "") for message in messages) for part in ("content", "thinking")]  # type: ignore[attr-defined]

    calm = told(scene.hear("/api/chat", body))
    for attempt in range(ATTEMPTS):
        assert told(scene.hear("/api/chat", body, kill_at=attempt % 5 + 1)) == calm
        if scene.recoveries >= 3:
            return
    raise AssertionError("no kill came in time")


DIALECTS = [
    ("/v1/chat/completions", {"max_tokens": 90, "temperature": 0, "messages": HELLO}, "data: [DONE]"),
    ("/v1/completions", {"max_tokens": 90, "temperature": 0, "prompt": "hello"}, "data: [DONE]"),
    ("/v1/messages", {"max_tokens": 90, "temperature": 0, "messages": HELLO}, 'data: {"type":"message_stop"}'),
    ("/v1/responses", {"max_output_tokens": 90, "temperature": 0, "input": "hello"}, "event: response.completed"),
]


def said(lines: list[str]) -> str:
    """The text of server-sent events of any dialect."""
    found = ""
    for line in lines:
        if line.startswith("data: {"):
            event = json.loads(line.removeprefix("data: "))
            for choice in event.get("choices", ()):
                found += choice.get("text") or choice.get("delta", {}).get("content") or ""
            delta = event.get("delta", "")
            found += delta if isinstance(delta, str) else delta.get("text", "")
    return found


@pytest.mark.parametrize(("path", "body", "end"), DIALECTS, ids=[path for path, _, _ in DIALECTS])
def test_every_dialect_ends_as_if_nothing_had_happened(
    stage: Callable[..., Stage], path: str, body: dict[str, object], end: str
) -> None:
    scene = stage("guide")
    calm = scene.hear(path, body)
    assert end in calm
    for _ in range(ATTEMPTS):
        hurt = scene.hear(path, body, kill_at=4)
        assert end in hurt
        assert said(hurt) == said(calm)
        if scene.recoveries:
            return
    raise AssertionError("no kill came in time")


def test_answers_that_one_engine_made_side_by_side_all_go_on(stage: Callable[..., Stage], endless: Path) -> None:
    scene = stage(endless)
    body: dict[str, object] = {"prompt": "hello", "raw": True, "options": OPTIONS}
    scene.hear("/api/generate", body)
    engine = scene.engine
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(scene.hear, "/api/generate", body) for _ in range(4)]
        eventually(lambda: scene.http.get("/models").json()["models"][0]["in_flight"] == 4)
        os.kill(engine, signal.SIGKILL)
        heard = [objects(answer.result())[-1] for answer in answers]
    assert [one["eval_count"] for one in heard] == [LENGTH] * 4


def test_a_request_whose_engine_died_before_a_word_is_asked_again(frail: Callable[..., Stage]) -> None:
    scene = frail(die_at_request=True)
    lines = scene.hear("/api/generate", {"prompt": "hello"})
    assert objects(lines)[-1]["recoveries"] == 1
    assert text(lines) == " t0 t1 t2 t3 t4"


def delta(**fields: object) -> Event:
    return {"choices": [{"delta": fields}]}


def test_thoughts_go_on_where_they_broke_off(frail: Callable[..., Stage]) -> None:
    thoughts = tuple(delta(reasoning_content=f"h{number}") for number in range(4))
    scene = frail(tokens=0, events=(*thoughts, delta(content="hi")), die_at_event=2)
    lines = scene.hear("/api/chat", {"messages": HELLO})
    messages = [one["message"] for one in objects(lines)]
    assert [message.get("thinking", "") for message in messages][:4] == ["h0", "h1", "h2", "h3"]  # type: ignore[attr-defined]
    assert "".join(str(message["content"]) for message in messages) == "hi"  # type: ignore[index]


def test_a_call_that_broke_off_comes_whole_and_once(frail: Callable[..., Stage]) -> None:
    parts: list[Event] = [
        {"id": "c1", "function": {"name": "add", "arguments": '{"x"'}},
        {"function": {"arguments": ":1}"}},
    ]
    events = tuple(delta(tool_calls=[{"index": 0} | part]) for part in parts)
    scene = frail(tokens=0, events=events, die_at_event=1)
    # The test's own model knows no tools; OpenAI's dialect asks the model as it is, through its template.
    lines = scene.hear("/v1/chat/completions", {"messages": HELLO})
    calls = [json.loads(line[6:])["choices"][0]["delta"].get("tool_calls") for line in lines if "delta" in line]
    assert "".join(call[0]["function"]["arguments"] for call in calls if call) == '{"x":1}'
    assert "data: [DONE]" in lines


def test_another_answer_is_no_continuation(stage: Callable[..., Stage], home: Path, tiny: Path) -> None:
    """The second engine says another thing: the client is told that the answer broke off."""
    first = fake_engine.install(home / "engine", die_at_token=3, journal=str(home / "journal"))
    scene = stage(tiny, engine_path=str(first))
    lines: list[str] = []
    with scene.http.stream("POST", "/api/generate", json={"model": str(tiny), "prompt": "hello"}) as response:
        for line in response.iter_lines():
            if not lines:
                fake_engine.install(home / "engine", tokens=0, events=(delta(content="other"),) * 5)
            lines.append(line)
    assert "error" in json.loads(lines[-1])


def test_an_answer_that_kills_every_engine_is_given_up(stage: Callable[..., Stage], home: Path, tiny: Path) -> None:
    journal = home / "journal"
    program = fake_engine.install(home / "engine", die_at_token=2, journal=str(journal))
    scene = stage(tiny, engine_path=str(program))
    lines = scene.hear("/api/generate", {"prompt": "hello"})
    assert "the engine died" in json.loads(lines[-1])["error"]
    assert journal.read_text().count("start ") == 3, "it was given two more engines"
    assert "".join(json.loads(line).get("response", "") for line in lines) == " t0 t1", "nothing was said twice"
