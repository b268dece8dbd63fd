"""Models that repeat themselves without end, by a real engine: every route ends their answers, with a whole end."""

import itertools
import json
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.core.models.manifests import Manifest
from oprel.server.inference.answers.runaway import RUNAWAY
from tests.fixtures.daemons import daemon_with
from tests.fixtures.runaway_models import PERIODS, write_runaway_gguf

MOST = 600  # tokens
QUICK = ("emoji", "3 words", "64 words")
USER = [{"role": "user", "content": "hello"}]
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "generate": ("/api/generate", {"prompt": "hello"}),
    "raw": ("/api/generate", {"prompt": "hello", "raw": True}),
    "chat": ("/api/chat", {"messages": USER}),
    "logprobs": ("/api/chat", {"messages": USER, "logprobs": True}),
    "conversation": ("/generate", {"prompt": "hello"}),
    "openai chat": ("/v1/chat/completions", {"messages": USER, "stream_options": {"include_usage": True}}),
    "openai text": ("/v1/completions", {"prompt": "hello", "stream_options": {"include_usage": True}}),
    "responses": ("/v1/responses", {"input": "hello"}),
    "anthropic": ("/v1/messages", {"messages": USER, "max_tokens": 100_000}),
}
NATIVE = {"num_predict": 700, "temperature": 0}

every_route = pytest.mark.parametrize("route", ROUTES)
streamed_and_whole = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with daemon_of(tmp_path_factory.mktemp("runaway"), QUICK) as http:
        yield http


def daemon_of(folder: Path, names: Iterable[str]) -> AbstractContextManager[httpx.Client]:
    """A daemon that has these models."""
    files = {name.replace(" ", "-"): write_runaway_gguf(folder / f"{name}.gguf", name) for name in names}
    return daemon_with(*(Manifest(name=name, weights=file) for name, file in files.items()))


def asked(http: httpx.Client, name: str, route: str, *, stream: bool, **fields: Any) -> httpx.Response:
    path, body = ROUTES[route]
    reply = http.post(path, json={"model": name.replace(" ", "-"), "stream": stream, **body, **fields})
    return reply.raise_for_status()


def objects(reply: httpx.Response) -> list[dict[str, Any]]:
    """The objects of an answer, streamed or whole."""
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line and not line.startswith("event:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def end_of(route: str, parts: list[dict[str, Any]]) -> tuple[str, int, str | None]:
    """How the answer ended, its length in tokens, and what ended it."""
    last = parts[-1]
    match ROUTES[route][0].split("/"):
        case ["", "v1", "responses"]:
            whole = last.get("response", last)
            return whole["incomplete_details"]["reason"], whole["usage"]["output_tokens"], whole.get("ended_by")
        case ["", "v1", "messages"]:
            whole = last if "usage" in last else parts[-2]
            return whole.get("delta", whole)["stop_reason"], whole["usage"]["output_tokens"], whole.get("ended_by")
        case ["", "v1", *_]:
            reasons = [choice["finish_reason"] for part in parts for choice in part["choices"]]
            return reasons[-1], last["usage"]["completion_tokens"], last.get("ended_by")
    assert last["done"]
    return last["done_reason"], last["eval_count"], last.get("ended_by")


def check_end(http: httpx.Client, name: str, route: str, *, stream: bool) -> None:
    reply = asked(http, name, route, stream=stream)
    reason, tokens, ended_by = end_of(route, objects(reply))
    assert reason in ("length", "max_output_tokens", "max_tokens")
    assert 256 <= tokens <= MOST
    assert ended_by == RUNAWAY
    if stream and route.startswith("openai"):
        assert reply.text.endswith("data: [DONE]\n\n")


@streamed_and_whole
@every_route
def test_every_route_ends_a_runaway_answer(http: httpx.Client, route: str, stream: bool) -> None:
    check_end(http, QUICK[list(ROUTES).index(route) % len(QUICK)], route, stream=stream)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_route_ends_every_runaway_answer(tmp_path: Path) -> None:
    """20 models, each on all routes, streamed and whole."""
    with daemon_of(tmp_path, PERIODS) as http:
        for name, route, stream in itertools.product(PERIODS, ROUTES, (False, True)):
            check_end(http, name, route, stream=stream)


def test_an_engine_has_its_slot_back(http: httpx.Client) -> None:
    """The next request finds it free: the engine has stopped."""
    asked(http, "3 words", "chat", stream=False)
    models = http.get("/models").json()["models"]
    assert [model["slots_taken"] for model in models if "3-words" in model["names"][0]] == [0]


def test_several_answers_all_end(http: httpx.Client) -> None:
    reply = asked(http, "3 words", "openai chat", stream=True, n=2)
    reasons = [choice["finish_reason"] for part in objects(reply) for choice in part["choices"]]
    assert [reason for reason in reasons if reason] == ["length", "length"]


@pytest.mark.parametrize(
    "fields",
    [
        {"options": {**NATIVE, "runaway_guard": False}},
        {"options": {**NATIVE, "ignore_eos": True}},
        {"options": NATIVE, "format": {"type": "string"}},
        {"options": NATIVE, "raw": True, "prompt": "Like this:\n```\n"},
    ],
    ids=["option", "ignore_eos", "format", "code fence"],
)
def test_where_repetition_is_wanted_only_num_predict_ends_it(http: httpx.Client, fields: dict[str, Any]) -> None:
    last = objects(asked(http, "3 words", "generate", stream=False, **fields))[-1]
    assert (last["done_reason"], last["eval_count"], last.get("ended_by")) == ("length", 700, "num_predict")


def test_a_request_may_turn_it_on_in_spite_of_ignore_eos(http: httpx.Client) -> None:
    options = {**NATIVE, "ignore_eos": True, "runaway_guard": True}
    assert objects(asked(http, "3 words", "generate", stream=False, options=options))[-1]["ended_by"] == RUNAWAY


def test_a_continued_answer_ends_too(tmp_path: Path) -> None:
    """Its engine is killed half-way: the tokens of both engines count together."""
    slow = Manifest(name="slow", weights=write_runaway_gguf(tmp_path / "slow.gguf", "64 words", layers=8))
    with daemon_with(slow) as http:
        whole = objects(asked(http, "slow", "generate", stream=True, options={"temperature": 0}))
        lines = killed_at_its_first_line(http)
    assert [line["response"] for line in lines] == [line["response"] for line in whole]
    assert {field: lines[-1][field] for field in ("done_reason", "ended_by", "recoveries", "eval_count")} == {
        "done_reason": "length",
        "ended_by": RUNAWAY,
        "recoveries": 1,
        "eval_count": whole[-1]["eval_count"],
    }


def killed_at_its_first_line(http: httpx.Client) -> list[dict[str, Any]]:
    """The lines of an answer whose engine is killed as soon as the client has the first one."""
    path, body = ROUTES["generate"]
    lines = []
    with http.stream("POST", path, json={"model": "slow", "options": {"temperature": 0}, **body}) as reply:
        for line in reply.iter_lines():
            lines.append(json.loads(line))
            if len(lines) == 1:
                (model,) = http.get("/models").json()["models"]
                os.kill(model["pid"], signal.SIGKILL)
    return lines
