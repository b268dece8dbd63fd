"""OpenAI's Responses through the official `openai` client."""

import json
from typing import Any

import openai
import pytest

from oprel.core.names import GUIDE
from tests.clients.questions import (
    ARGUMENTS,
    LIST,
    LIST_ANSWER,
    SCHEMA,
    TOOL,
    TOOL_DESCRIPTION,
    TOOL_PARAMETERS,
    WEATHER,
    WEATHER_ANSWER,
    WEATHER_RESULT,
)

PLAIN: Any = {"model": GUIDE, "temperature": 0, "reasoning": {"effort": "none"}}
ASKED: Any = {**PLAIN, "input": LIST}
FUNCTION = {
    "type": "function",
    "name": TOOL,
    "description": TOOL_DESCRIPTION,
    "parameters": TOOL_PARAMETERS,
    "strict": False,
}
WEATHER_INPUT = [{"role": "user", "content": WEATHER}]
ASKS_FOR_WEATHER: Any = {**PLAIN, "input": WEATHER_INPUT, "tools": [FUNCTION]}

endpoint = pytest.mark.endpoint


@endpoint("/v1/responses")
def test_response(openai_client: openai.OpenAI):
    reply = openai_client.responses.create(**ASKED)
    assert (reply.object, reply.status, reply.error) == ("response", "completed", None)
    assert LIST_ANSWER in reply.output_text
    assert reply.usage and reply.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 2


@endpoint("/v1/responses, streamed")
def test_response_streamed(openai_client: openai.OpenAI):
    events = list(openai_client.responses.create(stream=True, **ASKED))
    last = events[-1]
    assert [event.sequence_number for event in events] == sorted({event.sequence_number for event in events})
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert last.type == "response.completed" and LIST_ANSWER in last.response.output_text
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert told == last.response.output_text


@endpoint("/v1/responses, tools")
def test_response_calls_tools(openai_client: openai.OpenAI):
    (call,) = openai_client.responses.create(**ASKS_FOR_WEATHER).output
    assert call.type == "function_call" and call.call_id
    assert (call.name, json.loads(call.arguments)) == (TOOL, ARGUMENTS)


@endpoint("/v1/responses, tools, streamed")
def test_response_calls_tools_in_a_stream(openai_client: openai.OpenAI):
    events = list(openai_client.responses.create(stream=True, **ASKS_FOR_WEATHER))
    told = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert json.loads(told) == ARGUMENTS
    last = events[-1]
    assert last.type == "response.completed"
    assert [item.type for item in last.response.output] == ["function_call"]


@endpoint("/v1/responses, tool results")
def test_response_uses_what_a_tool_said(openai_client: openai.OpenAI):
    (call,) = openai_client.responses.create(**ASKS_FOR_WEATHER).output
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER_RESULT}
    told = [*WEATHER_INPUT, call.model_dump(exclude_none=True), result]
    assert WEATHER_ANSWER in openai_client.responses.create(**ASKS_FOR_WEATHER | {"input": told}).output_text


@endpoint("/v1/responses, thinking")
def test_response_thinks_when_asked_to(openai_client: openai.OpenAI):
    reply = openai_client.responses.create(**ASKED | {"reasoning": {"effort": "low"}})
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    assert LIST_ANSWER in reply.output_text


@endpoint("/v1/responses, format")
def test_response_keeps_to_a_schema(openai_client: openai.OpenAI):
    wanted: Any = {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}}
    reply = openai_client.responses.create(text=wanted, **ASKED)
    assert json.loads(reply.output_text).keys() == {"command"}


@endpoint("/v1/responses, limits")
def test_response_that_ends_at_its_limit_is_incomplete(openai_client: openai.OpenAI):
    reply = openai_client.responses.create(max_output_tokens=3, **ASKED)
    assert reply.status == "incomplete"
    assert reply.incomplete_details and reply.incomplete_details.reason == "max_output_tokens"


@endpoint("unknown model, /v1")
def test_an_unknown_model_is_not_found(openai_client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="nonesuch"):
        openai_client.responses.create(**ASKED | {"model": "nonesuch"})


@pytest.mark.parametrize("stream", [False, True])
@endpoint("/v1/responses, references")
def test_response_to_references_is_that_to_the_items(openai_client: openai.OpenAI, stream: bool):
    if stream:
        (call,) = list(openai_client.responses.create(stream=True, **ASKS_FOR_WEATHER))[-1].response.output
    else:
        (call,) = openai_client.responses.create(**ASKS_FOR_WEATHER).output
    result = {"type": "function_call_output", "call_id": call.call_id, "output": WEATHER_RESULT}
    replies = [
        openai_client.responses.create(**ASKS_FOR_WEATHER | {"input": [*WEATHER_INPUT, earlier, result]})
        for earlier in (call.model_dump(), {"type": "item_reference", "id": call.id})
    ]
    assert replies[0].output_text == replies[1].output_text
    assert WEATHER_ANSWER in replies[1].output_text


@endpoint("/v1/responses, references")
def test_what_was_not_stored_is_not_found(openai_client: openai.OpenAI):
    (message,) = openai_client.responses.create(store=False, **ASKED).output
    earlier: Any = [{"type": "item_reference", "id": message.id}, {"role": "user", "content": LIST}]
    with pytest.raises(openai.BadRequestError, match="not found"):
        openai_client.responses.create(**ASKED | {"input": earlier})
