"""An answer with a `format` is proven before it is called done."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures import fake_engine

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
def careless(start_daemon: Callable[..., RunningDaemon], home: Path) -> Iterator[httpx.Client]:
    """A daemon whose engine enforces no grammar."""
    daemon = start_daemon(engine_path=str(fake_engine.install(home / "engine")))
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE) as client:
        yield client


def ask(http: httpx.Client, model: Path, **fields: object) -> httpx.Response:
    body = {"model": str(model), "messages": [{"role": "user", "content": "hello"}], "format": SCHEMA}
    return http.post("/api/chat", json=body | fields)


def test_an_answer_that_breaks_its_schema_is_an_error(careless: httpx.Client, tiny: Path) -> None:
    response = ask(careless, tiny, stream=False)
    assert response.status_code == 500
    assert response.json()["error"] == "the model's answer is not the JSON that `format` asks for"


def test_a_stream_that_breaks_its_schema_ends_in_an_error_and_is_not_done(careless: httpx.Client, tiny: Path) -> None:
    *lines, last = [json.loads(line) for line in ask(careless, tiny).text.splitlines()]
    assert "error" in last
    assert not any(line["done"] for line in lines)


def test_openai_clients_see_neither_a_finish_nor_the_terminator(careless: httpx.Client, tiny: Path) -> None:
    body = {
        "model": str(tiny),
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "response_format": {"type": "json_object"},
    }
    text = careless.post("/v1/chat/completions", json=body).text
    assert '"error"' in text
    assert "[DONE]" not in text
    assert '"finish_reason":"stop"' not in text


@pytest.mark.parametrize("think", [None, True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_a_thinking_model_keeps_to_its_format(http: httpx.Client, think: bool | None, stream: bool) -> None:
    body = {
        "model": "guide",
        "messages": [{"role": "user", "content": "How do I list my models?"}],
        "format": SCHEMA | {"properties": {"n": {"enum": [1, 2, 3]}}},
        "think": think,
        "stream": stream,
        "options": {"temperature": 0, "num_predict": 100},
    }
    replies = [json.loads(line) for line in http.post("/api/chat", json=body).text.splitlines()]
    assert "error" not in replies[-1], replies[-1]
    assert replies[-1]["done_reason"] == "stop"
    assert json.loads("".join(reply["message"]["content"] for reply in replies)).keys() == {"n"}
    thought = "".join(reply["message"].get("thinking", "") for reply in replies)
    assert bool(thought) is (think is not False)


def test_a_schema_that_is_none_is_refused_before_anything_is_asked(http: httpx.Client) -> None:
    response = http.post(
        "/api/chat", json={"model": "guide", "messages": [{"role": "user"}], "format": {"type": "odd"}}
    )
    assert response.status_code == 400
    assert response.json()["error"].startswith("invalid format: ")


def test_a_prompt_can_be_looked_at_without_an_answer(http: httpx.Client) -> None:
    message = {"role": "user", "content": "hello"}
    reply = http.post("/api/chat", json={"model": "guide", "messages": [message], "_debug_render_only": True}).json()
    assert "<|im_start|>user\nhello<|im_end|>" in reply["_debug_info"]["rendered_template"]
    assert reply["_debug_info"]["image_count"] == 0
    raw = {"model": "guide", "prompt": "hello", "raw": True, "_debug_render_only": True}
    assert http.post("/api/generate", json=raw).json()["_debug_info"]["rendered_template"] == "hello"


def test_copilot_finds_the_name_that_it_asked_for(http: httpx.Client) -> None:
    shown = http.post("/api/show", json={"model": "guide"}, headers={"user-agent": "GitHubCopilotChat/0.1"}).json()
    assert shown["model_info"]["general.basename"] == "guide"
