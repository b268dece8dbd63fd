"""Anthropic's Messages through the official `anthropic` client."""

import base64
from typing import Any

import anthropic
import pytest

from oprel.core.names import GUIDE
from tests.clients.questions import (
    ARGUMENTS,
    LIST,
    LIST_ANSWER,
    TOOL,
    TOOL_DESCRIPTION,
    TOOL_PARAMETERS,
    WEATHER,
    WEATHER_ANSWER,
    WEATHER_RESULT,
)

# The client has no name for `temperature` any more; it still sends one.
EXACT = {"temperature": 0}
PLAIN: Any = {"model": GUIDE, "max_tokens": 400, "thinking": {"type": "disabled"}, "extra_body": EXACT}
ASKED: Any = {**PLAIN, "messages": [{"role": "user", "content": LIST}]}
FUNCTION = {"name": TOOL, "description": TOOL_DESCRIPTION, "input_schema": TOOL_PARAMETERS}
WEATHER_MESSAGES = [{"role": "user", "content": WEATHER}]
ASKS_FOR_WEATHER: Any = {**PLAIN, "messages": WEATHER_MESSAGES, "tools": [FUNCTION]}
THINKING: Any = {**ASKED, "thinking": {"type": "enabled", "budget_tokens": 1024}}

endpoint = pytest.mark.endpoint


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@endpoint("/v1/messages")
def test_message(anthropic_client: anthropic.Anthropic):
    reply = anthropic_client.messages.create(**ASKED)
    assert (reply.type, reply.role, reply.stop_reason) == ("message", "assistant", "end_turn")
    assert reply.id.startswith("msg_")
    assert LIST_ANSWER in text_of(reply)
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens > 2


@endpoint("/v1/messages, streamed")
def test_message_streamed(anthropic_client: anthropic.Anthropic):
    events = [event.type for event in anthropic_client.messages.create(stream=True, **ASKED)]
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(events[2:-3]) == {"content_block_delta"}


@endpoint("/v1/messages, streamed")
def test_message_gathered_from_a_stream_is_the_whole_one(anthropic_client: anthropic.Anthropic):
    with anthropic_client.messages.stream(**ASKED) as stream:
        gathered = stream.get_final_message()
    assert text_of(gathered) == text_of(anthropic_client.messages.create(**ASKED))
    assert gathered.stop_reason == "end_turn"
    assert gathered.usage.output_tokens > 2


@endpoint("/v1/messages, tools")
def test_message_calls_tools(anthropic_client: anthropic.Anthropic):
    reply = anthropic_client.messages.create(**ASKS_FOR_WEATHER)
    (call,) = (block for block in reply.content if block.type == "tool_use")
    assert reply.stop_reason == "tool_use"
    assert (call.name, call.input) == (TOOL, ARGUMENTS)


@endpoint("/v1/messages, tools, streamed")
def test_message_calls_tools_in_a_stream(anthropic_client: anthropic.Anthropic):
    with anthropic_client.messages.stream(**ASKS_FOR_WEATHER) as stream:
        reply = stream.get_final_message()
    (call,) = (block for block in reply.content if block.type == "tool_use")
    assert reply.stop_reason == "tool_use"
    assert (call.name, call.input) == (TOOL, ARGUMENTS)


@endpoint("/v1/messages, tool results")
def test_message_uses_what_a_tool_said(anthropic_client: anthropic.Anthropic):
    calling = anthropic_client.messages.create(**ASKS_FOR_WEATHER)
    (call,) = (block for block in calling.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": WEATHER_RESULT}
    told: Any = [
        *WEATHER_MESSAGES,
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in calling.content]},
        {"role": "user", "content": [result]},
    ]
    assert WEATHER_ANSWER in text_of(anthropic_client.messages.create(**ASKS_FOR_WEATHER | {"messages": told}))


@endpoint("/v1/messages, thinking")
def test_message_thinks_when_asked_to(anthropic_client: anthropic.Anthropic):
    reply = anthropic_client.messages.create(**THINKING)
    thought, answer = reply.content
    assert thought.type == "thinking" and thought.thinking
    assert LIST_ANSWER in text_of(reply) and answer.type == "text"
    assert [block.type for block in anthropic_client.messages.create(**ASKED).content] == ["text"]


@endpoint("/v1/messages, thinking, streamed")
def test_message_thinks_in_a_stream(anthropic_client: anthropic.Anthropic):
    with anthropic_client.messages.stream(**THINKING) as stream:
        reply = stream.get_final_message()
    assert [block.type for block in reply.content] == ["thinking", "text"]


@endpoint("/v1/messages, limits")
def test_message_ends_at_its_limit(anthropic_client: anthropic.Anthropic):
    assert anthropic_client.messages.create(**ASKED | {"max_tokens": 3}).stop_reason == "max_tokens"


@endpoint("/v1/messages, limits")
def test_message_ends_at_a_stop_sequence(anthropic_client: anthropic.Anthropic):
    assert text_of(anthropic_client.messages.create(stop_sequences=["list"], **ASKED)).rstrip().endswith("oprel")


@endpoint("/v1/messages, images")
def test_images_that_the_model_cannot_see_are_refused(anthropic_client: anthropic.Anthropic):
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"no picture").decode()}
    asked: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    with pytest.raises(anthropic.BadRequestError, match="image|vision"):
        anthropic_client.messages.create(**ASKED | {"messages": asked})


@endpoint("/v1/messages/count_tokens")
def test_counted_tokens_are_those_of_the_message(anthropic_client: anthropic.Anthropic):
    counted = anthropic_client.messages.count_tokens(
        model=GUIDE, messages=ASKED["messages"], thinking=ASKED["thinking"]
    )
    usage = anthropic_client.messages.create(**ASKED).usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert counted.input_tokens == usage.input_tokens + cached


@endpoint("unknown model, /v1")
def test_an_unknown_model_is_not_found(anthropic_client: anthropic.Anthropic):
    with pytest.raises(anthropic.NotFoundError, match="nonesuch") as caught:
        anthropic_client.messages.create(**ASKED | {"model": "nonesuch"})
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")


@endpoint("bad requests, /v1")
def test_bad_requests_are_refused(anthropic_client: anthropic.Anthropic):
    for bad in ({"max_tokens": 0}, {"messages": None}, {"model": ""}):
        with pytest.raises(anthropic.BadRequestError):
            anthropic_client.messages.create(**ASKED | bad)


@endpoint("/v1/models")
def test_models_are_listed_page_by_page(anthropic_client: anthropic.Anthropic):
    first = anthropic_client.models.list(limit=1)
    names = [model.id for model in first]  # the client fetches page after page
    assert {"guide:latest", "tiny:latest"} <= set(names)
    assert len(first.data) == 1 and first.has_more
    assert all(model.type == "model" and model.created_at.tzinfo for model in first)
    backwards = anthropic_client.models.list(limit=1, before_id=names[1])
    assert [model.id for model in backwards.data] == names[:1]


@endpoint("/v1/models/{model}")
def test_one_model_is_shown(anthropic_client: anthropic.Anthropic):
    shown = anthropic_client.models.retrieve("guide")
    assert (shown.type, shown.id) == ("model", "guide") and shown.max_input_tokens
    with pytest.raises(anthropic.NotFoundError, match="nonesuch"):
        anthropic_client.models.retrieve("nonesuch")
