"""Anthropic's API through Anthropic's client, with the real engine where it can do what is asked, else with a fake."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import CHATML, write_tiny_gguf

StartDaemon = Callable[..., RunningDaemon]

HELLO: Any = [{"role": "user", "content": "hello"}]
LIST: Any = [{"role": "user", "content": "How do I list my models?"}]
OSLO: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# The client has no name for `temperature` any more; it still sends one.
EXACT: Any = {"model": "guide", "max_tokens": 300, "extra_body": {"temperature": 0}}
SILENT: Any = {**EXACT, "thinking": {"type": "disabled"}}


@pytest.fixture
def api(shared_daemon: RunningDaemon) -> Iterator[anthropic.Anthropic]:
    with client_of(shared_daemon) as client:
        yield client


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as client:
        yield client


def client_of(daemon: RunningDaemon) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=daemon.url, api_key="any", max_retries=0, timeout=DEADLINE)


def said(content: Any) -> list[tuple[str, str]]:
    """Kind and text of each block."""
    return [(block.type, getattr(block, "text", "") or getattr(block, "thinking", "")) for block in content]


def test_a_message_is_the_same_streamed_or_not(api: anthropic.Anthropic):
    whole = api.messages.create(**EXACT, messages=LIST)
    with api.messages.stream(**EXACT, messages=LIST) as stream:
        text = "".join(stream.text_stream)
        gathered = stream.get_final_message()
    assert said(gathered.content) == said(whole.content)
    assert [kind for kind, _ in said(whole.content)] == ["thinking", "text"]
    assert text == said(whole.content)[1][1]
    assert gathered.usage.output_tokens == whole.usage.output_tokens


def test_the_cached_part_of_a_prompt_is_counted_apart(api: anthropic.Anthropic):
    first, second = (api.messages.create(**SILENT, messages=LIST).usage for _ in range(2))
    assert second.cache_read_input_tokens
    assert second.input_tokens + second.cache_read_input_tokens == first.input_tokens + (
        first.cache_read_input_tokens or 0
    )


def test_a_tools_arguments_stream_while_they_are_made(api: anthropic.Anthropic):
    with api.messages.stream(**SILENT, messages=OSLO, tools=[WEATHER]) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == {"city": "Oslo"}
    (call,) = message.content
    assert call.type == "tool_use" and call.input == {"city": "Oslo"}
    assert message.stop_reason == "tool_use"


def test_no_tool_is_used_where_none_may_be(api: anthropic.Anthropic):
    reply = api.messages.create(**SILENT, messages=OSLO, tools=[WEATHER], tool_choice={"type": "none"})
    assert [kind for kind, _ in said(reply.content)] == ["text"]


def test_a_format_is_kept_to(api: anthropic.Anthropic):
    schema = {"type": "object", "properties": {"command": {"type": "string", "maxLength": 20}}, "required": ["command"]}
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    reply = api.messages.create(**SILENT, messages=LIST, output_config=form)
    assert json.loads(said(reply.content)[0][1]).keys() == {"command"}


def test_thinking_is_dropped_for_a_model_that_cannot(api: anthropic.Anthropic):
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    reply = api.messages.create(
        model="tiny", max_tokens=2, messages=HELLO, thinking=thinking, extra_body={"temperature": 0}
    )
    assert [kind for kind, _ in said(reply.content)] == ["text"]


def test_the_extensions_reach_the_engine(api: anthropic.Anthropic):
    wild: Any = {"temperature": None, "options": {"temperature": 5.0, "top_p": 1.0, "seed": 1}, "keep_alive": -1}
    first, second = (
        api.messages.create(**{**SILENT, "extra_body": wild, "max_tokens": 20}, messages=HELLO) for _ in range(2)
    )
    assert said(first.content) == said(second.content), "one seed"
    assert said(first.content) != said(api.messages.create(**{**SILENT, "max_tokens": 20}, messages=HELLO).content)


# What Claude Code sends, in small.
CODING: dict[str, Any] = {
    "model": "guide",
    "max_tokens": 300,
    "temperature": 0,
    "stream": True,
    "system": [
        {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>Today is Monday.</system-reminder>"},
                {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "c2ln"},
                {"type": "tool_use", "id": "toolu_01", "name": "Read", "input": {"file_path": "/a", "limit": 3}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_01", "content": "no such file", "is_error": True}
            ],
        },
        {"role": "system", "content": "Mind the gap."},
        {"role": "user", "content": [{"type": "text", "text": "go on"}]},
    ],
    "tools": [
        {
            "name": "Read",
            "description": "Reads a file",
            "input_schema": {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "type": "object",
                "properties": {
                    "file_path": {"type": "string", "description": "absolute"},
                    "limit": {"type": "integer", "exclusiveMinimum": 0},
                    "mode": {"enum": ["text", "binary"], "default": "text"},
                },
                "required": ["file_path"],
                "additionalProperties": False,
            },
            "cache_control": {"type": "ephemeral"},
        }
    ],
    "tool_choice": {"type": "auto"},
    "thinking": {"type": "adaptive", "display": "summarized"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": "user_1"},
}
HEADERS = {"anthropic-version": "2023-06-01", "anthropic-beta": "interleaved-thinking-2025-05-14", "x-api-key": "any"}


def test_what_a_coding_agent_sends_is_understood(http: httpx.Client):
    with http.stream("POST", "/v1/messages?beta=true", json=CODING, headers=HEADERS) as response:
        body = response.read().decode()
    assert response.status_code == 200, body
    assert body.rstrip().endswith('data: {"type":"message_stop"}')
    count = {name: CODING[name] for name in ("model", "system", "messages", "tools", "thinking")}
    counted = http.post("/v1/messages/count_tokens?beta=true", json=count, headers=HEADERS).json()
    assert counted["input_tokens"] > 40


def test_tools_and_system_are_counted(api: anthropic.Anthropic):
    plain = api.messages.count_tokens(model="guide", messages=OSLO).input_tokens
    tooled = api.messages.count_tokens(model="guide", messages=OSLO, tools=[WEATHER]).input_tokens
    told = api.messages.count_tokens(model="guide", messages=OSLO, tools=[WEATHER], system="Be kind.").input_tokens
    assert plain < tooled < told


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_refused(api: anthropic.Anthropic, stream: bool):
    long: Any = [{"role": "user", "content": "word " * 5000}]
    with pytest.raises(anthropic.BadRequestError, match="longer than the context length") as caught:
        api.messages.create(**EXACT, messages=long, stream=stream)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert body["request_id"].startswith("req_")


@pytest.fixture
def tooled(tmp_path: Path) -> Path:
    """A model whose template speaks of tools."""
    return write_tiny_gguf(tmp_path / "tooled.gguf", template=CHATML + "{# tools #}")


def fragment(index: int, arguments: str, **begin: str) -> dict[str, object]:
    function = {"arguments": arguments, **({"name": "get_weather"} if begin else {})}
    return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": function, **begin}]}}]}


CALLS = (
    fragment(0, "", id="one"),
    fragment(0, '{"city": '),
    fragment(1, '{"city": "Rome"}', id="two"),
    fragment(0, '"Oslo"}'),
)


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_the_engine_mixes_are_told_apart(
    start_daemon: StartDaemon, tooled: Path, tmp_path: Path, stream: bool
):
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", tokens=2, events=CALLS)))
    asked: Any = {"model": str(tooled), "max_tokens": 9, "messages": OSLO, "tools": [WEATHER]}
    with client_of(daemon) as api:
        if stream:
            with api.messages.stream(**asked) as events:
                reply = events.get_final_message()
        else:
            reply = api.messages.create(**asked)
    text, *calls = reply.content
    assert text.type == "text" and text.text == " t0 t1"
    assert [(call.id, call.input) for call in calls if call.type == "tool_use"] == [
        ("one", {"city": "Oslo"}),
        ("two", {"city": "Rome"}),
    ]


BROKEN = {
    "in its text": {"die_at_token": 2},
    "in a call": {"tokens": 2, "events": CALLS, "die_at_event": 2},
}


@pytest.mark.parametrize("faults", BROKEN.values(), ids=BROKEN)
def test_the_client_raises_the_error_that_a_stream_ended_in(
    start_daemon: StartDaemon, tooled: Path, tmp_path: Path, faults: dict[str, object]
):
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", **faults)))
    heard: list[str] = []
    with client_of(daemon) as api, pytest.raises(anthropic.APIStatusError, match="the engine died") as caught:
        with api.messages.stream(model=str(tooled), max_tokens=9, messages=OSLO, tools=[WEATHER]) as stream:
            heard.extend(event.type for event in stream)
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")
    assert "text" in heard and "message_stop" not in heard


def test_a_whole_message_that_loses_its_engine_is_an_error(start_daemon: StartDaemon, tooled: Path, tmp_path: Path):
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", die_at_token=2)))
    with client_of(daemon) as api, pytest.raises(anthropic.InternalServerError, match="the engine died"):
        api.messages.create(model=str(tooled), max_tokens=9, messages=OSLO)
