"""What has no effect in a request is reported, and what cannot be served is refused, in every dialect."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon

HELLO: Any = [{"role": "user", "content": "hi"}]
FUNCTION: Any = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CHAT: Any = {"model": "guide", "messages": HELLO}
ONE: Any = {"num_predict": 1}


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/api/chat", {**CHAT, "stream": False, "options": {**ONE, "mirostat": 1}}, "options.mirostat"),
        ("/api/chat", {**CHAT, "best_of": 2, "options": ONE}, "best_of"),
        ("/api/generate", {"model": "guide", "prompt": "hi", "width": 9, "options": ONE}, "width"),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "min_tokens": 1}, "min_tokens"),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "stream": True, "best_of": 2}, "best_of"),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 1, "tools": [{"type": "web_search"}]}, "tools.web_search"),
        ("/v1/completions", {"model": "guide", "prompt": "hi", "max_tokens": 1, "think": True}, "think"),
        (
            "/v1/responses",
            {"model": "guide", "input": "hi", "max_output_tokens": 1, "tools": [FUNCTION, {"type": "mcp"}]},
            "tools.mcp",
        ),
        (
            "/v1/messages",
            {**CHAT, "max_tokens": 1, "thinking": {"type": "disabled", "budget_tokens": 9}},
            "thinking.budget_tokens",
        ),
        ("/v1/messages", {**CHAT, "model": "tiny", "max_tokens": 1, "thinking": {"type": "enabled"}}, "thinking"),
        ("/v1/embeddings", {"model": "tiny", "input": "hi", "input_type": "query"}, "input_type"),
    ],
)
def test_what_is_ignored_is_in_a_header_and_in_the_log(
    http: httpx.Client, shared_daemon: RunningDaemon, path: str, body: dict[str, Any], names: str
):
    response = http.post(path, json=body)
    assert (response.status_code, response.headers.get("x-oprel-ignored")) == (200, names), response.text
    assert http.post(path, json=body).status_code == 200
    lines = [line for line in shared_daemon.log.splitlines() if ": ignored " in line]
    assert sum(names in line.partition(": ignored ")[2].split(", ") for line in lines) == 1


def test_what_is_obeyed_is_not_reported(http: httpx.Client):
    body = {**CHAT, "max_tokens": 1, "top_k": 5, "think": False, "chat_template_kwargs": {"x": 1}, "user": "me"}
    assert "x-oprel-ignored" not in http.post("/v1/chat/completions", json=body).headers


def test_a_page_may_read_the_header(http: httpx.Client):
    body = {**CHAT, "max_tokens": 1, "best_of": 2}
    headers = http.post("/v1/chat/completions", json=body, headers={"origin": "http://localhost:3000"}).headers
    assert "x-oprel-ignored" in headers
    assert "X-Oprel-Ignored" in headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "switch",
    [
        {"think": False},
        {"reasoning": {"enabled": False}},
        {"enable_thinking": False},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_thinking_is_switched_off_in_every_dialect(http: httpx.Client, switch: dict[str, Any]):
    body = {"model": "guide", "temperature": 0, "max_tokens": 60, **switch}
    question = [{"role": "user", "content": "How do I list my models?"}]
    message = http.post("/v1/chat/completions", json={**body, "messages": question}).json()["choices"][0]["message"]
    assert message["content"] and "reasoning" not in message
    output = http.post("/v1/responses", json={**body, "input": question}).json()["output"]
    assert [item["type"] for item in output] == ["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("extra", [{"ignore_eos": True}, {"options": {"ignore_eos": True}}])
def test_an_answer_goes_on_after_its_end(http: httpx.Client, path: str, extra: dict[str, Any]):
    prompt: Any = {"prompt": "hi"} if path == "/v1/completions" else {"messages": HELLO}
    body = {"model": "guide", "max_tokens": 40, "temperature": 0, **prompt, **extra}
    assert http.post(path, json=body).json()["usage"]["completion_tokens"] == 40


@pytest.mark.parametrize(
    "fault",
    [
        {"tools": [{"type": "function", "function": {"parameters": {}}}]},
        {"tools": [{"type": "function"}]},
        {"tools": [{}]},
        {
            "tool_choice": "required",  # so that the schema shapes the answer
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#/nowhere"}}}],
        },
        {"chat_template_kwargs": {"enable_thinking": "no"}},
        {"chat_template_kwargs": {"messages": 3}},
        {"n": 100},
    ],
)
def test_a_clients_fault_is_not_the_engines(http: httpx.Client, fault: dict[str, Any]):
    response = http.post("/v1/chat/completions", json={**CHAT, "max_tokens": 1, **fault})
    assert response.status_code == 400
    assert "Ask again" not in response.text
