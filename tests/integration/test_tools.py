"""Tools and logprobs over Ollama's API. What a model makes of tools is for one that can: here an engine is told to."""

import json
import math
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.conftest import DEADLINE
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import CHATML, write_tiny_gguf

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
HELLO = [{"role": "user", "content": "hello"}]


def delta(**fields: object) -> dict[str, object]:
    return {"choices": [{"delta": {"tool_calls": [fields]}}]}


CALLS = (
    delta(index=0, id="one", function={"name": "weather", "arguments": ""}),
    delta(index=0, function={"arguments": '{"city": '}),
    delta(index=1, id="two", function={"name": "weather", "arguments": "{}"}),
    delta(index=0, function={"arguments": '"Oslo"}'}),
)


@pytest.fixture
def tooled(tmp_path: Path) -> Path:
    """A model whose template speaks of tools."""
    return write_tiny_gguf(tmp_path / "tooled.gguf", template=CHATML + "{# tools #}")


def calling(start_daemon, folder: Path, **faults: object):
    """A daemon whose engine calls tools."""
    return start_daemon(engine_path=str(install(folder / "engine", events=CALLS, **faults)))


@pytest.mark.parametrize("stream", [True, False])
def test_tool_calls_come_whole_with_their_arguments_as_an_object(
    start_daemon, tooled: Path, tmp_path: Path, stream: bool
):
    with ollama.Client(host=calling(start_daemon, tmp_path).url) as client:
        reply = client.chat(str(tooled), HELLO, tools=[WEATHER], stream=stream)
        pieces = list(reply) if stream else [reply]
    calls = [call for piece in pieces for call in piece.message.tool_calls or ()]
    assert [(call.function.name, call.function.arguments) for call in calls] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {}),
    ]
    assert pieces[-1].done_reason == "stop"


def test_a_tool_and_its_result_reach_the_engine_in_its_own_form(start_daemon, tooled: Path, tmp_path: Path):
    journal = tmp_path / "journal"
    call = {"id": "one", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    messages = [
        *HELLO,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "one"},
    ]
    body = {"model": str(tooled), "messages": messages, "tools": [WEATHER], "stream": False}
    url = calling(start_daemon, tmp_path, journal=str(journal)).url
    assert httpx.post(f"{url}/api/chat", json=body, timeout=DEADLINE).json()["message"]["tool_calls"]
    (asked,) = (json.loads(line[4:]) for line in journal.read_text().splitlines() if line.startswith("ask "))
    assert asked["tools"] == [WEATHER]
    assert asked["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"city":"Oslo"}'
    assert asked["messages"][2] == {"role": "tool", "content": "rain", "tool_call_id": "one", "name": "weather"}


def test_a_call_that_is_not_json_is_an_error_and_no_call(start_daemon, tooled: Path, tmp_path: Path):
    engine = install(tmp_path / "engine", events=(delta(index=0, id="x", function={"name": "w", "arguments": "{"}),))
    with ollama.Client(host=start_daemon(engine_path=str(engine)).url) as client:
        with pytest.raises(ollama.ResponseError, match="call of w is not valid JSON"):
            client.chat(str(tooled), HELLO, tools=[WEATHER])


def test_logprobs_tell_each_token_with_its_bytes_and_alternatives(shared_daemon):
    options = {"num_predict": 5, "temperature": 0}
    with ollama.Client(host=shared_daemon.url) as client:
        pieces = list(client.chat("tiny", HELLO, stream=True, logprobs=True, top_logprobs=3, options=options))
        plain = client.generate("tiny", "hello", options=options)
    told = [one for piece in pieces for one in piece.logprobs or ()]
    assert "".join(one.token for one in told) == "".join(piece.message.content or "" for piece in pieces)
    for one in told:
        assert [other.logprob for other in one.top_logprobs] == sorted(
            (o.logprob for o in one.top_logprobs), reverse=True
        )
        assert len(one.top_logprobs) == 3 and math.isfinite(one.logprob)
    assert plain.logprobs is None


def test_logprobs_carry_the_utf8_of_their_token(shared_daemon):
    body = {
        "model": "tiny",
        "prompt": "x",
        "raw": True,
        "stream": False,
        "logprobs": True,
        "options": {"num_predict": 3},
    }
    reply = httpx.post(f"{shared_daemon.url}/api/generate", json=body, timeout=DEADLINE).json()
    assert [bytes(one["bytes"]).decode() for one in reply["logprobs"]] == [one["token"] for one in reply["logprobs"]]
    assert "top_logprobs" not in reply["logprobs"][0]


def test_more_alternatives_than_engines_tell_are_refused(shared_daemon):
    body = {"model": "tiny", "messages": HELLO, "logprobs": True, "top_logprobs": 21}
    response = httpx.post(f"{shared_daemon.url}/api/chat", json=body, timeout=DEADLINE)
    assert (response.status_code, response.json()["error"]) == (400, "top_logprobs must be between 0 and 20")


def test_tools_are_described_in_words_where_the_template_has_none(shared_daemon):
    body = {"model": "tiny", "messages": HELLO, "tools": [WEATHER], "stream": False, "_debug_render_only": True}
    prompt = httpx.post(f"{shared_daemon.url}/api/chat", json=body).json()["_debug_info"]["rendered_template"]
    assert '"name":"weather"' in prompt and "<tool_call>" in prompt


SPELLED = ("Let me see. <tool", '_call>\n{"name": "weather", ', '"arguments": {"city": "Oslo"}}\n</tool_call>')


@pytest.mark.parametrize("stream", [True, False])
def test_calls_are_read_from_the_text_where_the_template_has_no_tools(
    start_daemon, tiny: Path, tmp_path: Path, stream: bool
):
    events = tuple({"choices": [{"index": 0, "delta": {"content": text}}]} for text in SPELLED)
    engine = install(tmp_path / "engine", events=events, tokens=0, renders_tools=False)
    url = start_daemon(engine_path=str(engine)).url
    with ollama.Client(host=url) as client:
        reply = client.chat(str(tiny), HELLO, tools=[WEATHER], stream=stream)
        pieces = list(reply) if stream else [reply]
    calls = [call.function for piece in pieces for call in piece.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Oslo"})]
    assert "".join(piece.message.content or "" for piece in pieces) == "Let me see."

    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        body: Any = {"model": str(tiny), "messages": HELLO, "tools": [WEATHER]}
        if stream:
            deltas = [
                chunk.choices[0] for chunk in client.chat.completions.create(**body, stream=True) if chunk.choices
            ]
            parts = [part.function for delta in deltas for part in delta.delta.tool_calls or ()]
            arguments, finish = "".join(part.arguments for part in parts), deltas[-1].finish_reason
        else:
            choice = client.chat.completions.create(**body).choices[0]
            arguments, finish = choice.message.tool_calls[0].function.arguments, choice.finish_reason
    assert (json.loads(arguments), finish) == ({"city": "Oslo"}, "tool_calls")
