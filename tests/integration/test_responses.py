"""OpenAI's Responses through OpenAI's client, with the real engine where it can do what is asked, else with a fake."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pydantic
import pytest
import zstandard

from tests.conftest import DEADLINE, RunningDaemon
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import CHATML, write_tiny_gguf

StartDaemon = Callable[..., RunningDaemon]

LIST = "How do I list my models?"
OSLO = "What is the weather in Oslo?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
EXACT: Any = {"model": "guide", "temperature": 0}
SILENT: Any = {**EXACT, "reasoning": {"effort": "none"}}


@pytest.fixture
def api(shared_daemon: RunningDaemon) -> Iterator[openai.OpenAI]:
    with client_of(shared_daemon) as client:
        yield client


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE, trust_env=False) as client:
        yield client


def client_of(daemon: RunningDaemon) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="any", max_retries=0, timeout=DEADLINE)


def test_a_response_is_the_same_streamed_or_not(api: openai.OpenAI):
    whole = api.responses.create(**EXACT, input=LIST)
    with api.responses.stream(**EXACT, input=LIST) as stream:
        kinds = [event.type for event in stream]
        gathered = stream.get_final_response()
    assert gathered.output_text == whole.output_text != ""
    assert [item.type for item in gathered.output] == [item.type for item in whole.output] == ["reasoning", "message"]
    assert gathered.usage and whole.usage and gathered.usage.output_tokens == whole.usage.output_tokens
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


def test_what_was_answered_can_be_sent_back(api: openai.OpenAI):
    told: Any = [{"role": "user", "content": "My name is Anna."}]
    told += [item.model_dump() for item in api.responses.create(**EXACT, input=told).output]
    told += [{"role": "user", "content": "What is my name?"}]
    assert "Anna" in api.responses.create(**SILENT, input=told).output_text


def test_a_tools_arguments_stream_while_they_are_made(api: openai.OpenAI):
    with api.responses.stream(**SILENT, input=OSLO, tools=[WEATHER]) as stream:
        pieces = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        (call,) = stream.get_final_response().output
    assert len(pieces) > 1
    assert call.type == "function_call"
    assert json.loads("".join(pieces)) == json.loads(call.arguments) == {"city": "Oslo"}


def test_the_client_parses_an_answer_into_a_type(api: openai.OpenAI):
    class Answer(pydantic.BaseModel):
        command: str = pydantic.Field(max_length=20)

    reply = api.responses.parse(**SILENT, input=LIST, text_format=Answer)
    assert isinstance(reply.output_parsed, Answer)


def test_a_stream_that_its_limit_cut_ends_incomplete(api: openai.OpenAI):
    *_, last = api.responses.create(**SILENT, input=LIST, max_output_tokens=3, stream=True)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details and last.response.incomplete_details.reason == "max_output_tokens"
    assert [item.status for item in last.response.output if item.type == "message"] == ["incomplete"]


def test_what_a_coding_agent_sends_is_understood(http: httpx.Client):
    body = {
        **EXACT,
        "instructions": "You are a coding agent.",
        "input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": OSLO}]},
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "x"},
            {
                "type": "function_call",
                "call_id": "one",
                "name": "get_weather",
                "namespace": "mcp",
                "arguments": '{"city":"Oslo"}',
            },
            {
                "type": "function_call_output",
                "call_id": "one",
                "output": [{"type": "input_text", "text": '{"temperature": 17}'}],
            },
        ],
        "tools": [
            {"type": "namespace", "name": "mcp", "description": "tools", "tools": [WEATHER]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "none", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "key",
        "text": {"verbosity": "low"},
        "client_metadata": {"a": "b"},
    }
    content = zstandard.ZstdCompressor().compress(json.dumps(body).encode())
    reply = http.post("/v1/responses", content=content, headers={"content-encoding": "zstd"})
    assert reply.status_code == 200, reply.text
    last = json.loads(reply.text.rstrip().rsplit("data: ", 1)[1])
    assert last["type"] == "response.completed"
    assert "17" in last["response"]["output"][-1]["content"][0]["text"]


LONG: Any = [{"role": "user", "content": f"My colour is blue. {number}" * 20} for number in range(20)]
PAST: Any = [one for message in LONG for one in (message, {"role": "assistant", "content": "I see."})]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit_is_refused(api: openai.OpenAI, stream: bool):
    with pytest.raises(openai.BadRequestError) as caught:
        api.responses.create(**SILENT, input=[*PAST, {"role": "user", "content": LIST}], stream=stream)
    assert caught.value.code == "context_length_exceeded"


def test_a_prompt_that_may_be_cut_is_and_the_header_tells(http: httpx.Client):
    body = {**SILENT, "input": [*PAST, {"role": "user", "content": LIST}], "truncation": "auto", "max_output_tokens": 4}
    reply = http.post("/v1/responses", json=body)
    assert (reply.status_code, reply.json()["truncation"]) == (200, "auto")
    assert reply.headers["x-oprel-truncated"].startswith("messages=")


def test_oprel_has_no_memory_of_responses(api: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="previous_response_id"):
        api.responses.create(**SILENT, input=LIST, previous_response_id="resp_1")


def fragment(arguments: str, **begin: str) -> dict[str, object]:
    function = {"arguments": arguments, **({"name": "get_weather"} if begin else {})}
    return {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": function, **begin}]}}]}


CALL = (fragment("", id="one"), fragment('{"city": '), fragment('"Oslo"}'))
BROKEN: dict[str, tuple[dict[str, object], list[str]]] = {
    "in its text": ({"die_at_token": 2}, ["message"]),
    "in a call": ({"tokens": 2, "events": CALL, "die_at_event": 2}, ["message", "function_call"]),
}


@pytest.mark.parametrize(("faults", "items"), BROKEN.values(), ids=BROKEN)
def test_a_stream_that_loses_its_engine_ends_in_a_failed_response(
    start_daemon: StartDaemon, tmp_path: Path, faults: dict[str, object], items: list[str]
):
    model = write_tiny_gguf(tmp_path / "tooled.gguf", template=CHATML + "{# tools #}")
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", **faults)))
    with client_of(daemon) as api:
        *before, last = api.responses.create(model=str(model), input=OSLO, tools=[WEATHER], stream=True)
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error and "the engine died" in last.response.error.message
    assert [item.type for item in last.response.output] == items
    assert last.response.output_text == " t0 t1"
    assert "response.completed" not in [event.type for event in before]


def test_a_whole_response_that_loses_its_engine_is_an_error(start_daemon: StartDaemon, tiny: Path, tmp_path: Path):
    daemon = start_daemon(engine_path=str(install(tmp_path / "engine", die_at_token=2)))
    with client_of(daemon) as api, pytest.raises(openai.InternalServerError, match="the engine died"):
        api.responses.create(model=str(tiny), input=OSLO)
