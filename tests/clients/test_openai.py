"""Every OpenAI endpoint but Responses through the official `openai` client."""

import base64
import json
import math
import struct
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

PLAIN: Any = {"model": GUIDE, "temperature": 0, "reasoning_effort": "none"}
CHAT: Any = {**PLAIN, "messages": [{"role": "user", "content": LIST}]}
FUNCTION = {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS}
WEATHER_MESSAGES = [{"role": "user", "content": WEATHER}]
ASKS_FOR_WEATHER: Any = {**PLAIN, "messages": WEATHER_MESSAGES, "tools": [{"type": "function", "function": FUNCTION}]}

endpoint = pytest.mark.endpoint


def check_weather_call(choice: Any) -> None:
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert call.id and call.function.name == TOOL
    assert json.loads(call.function.arguments) == ARGUMENTS


@endpoint("/v1/chat/completions")
def test_chat(openai_client: openai.OpenAI):
    reply = openai_client.chat.completions.create(**CHAT)
    (choice,) = reply.choices
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-")
    assert (choice.message.role, choice.finish_reason) == ("assistant", "stop")
    assert LIST_ANSWER in (choice.message.content or "")
    assert reply.usage and reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


@endpoint("/v1/chat/completions, streamed")
def test_chat_streamed(openai_client: openai.OpenAI):
    chunks = list(openai_client.chat.completions.create(stream=True, **CHAT))
    choices = [chunk.choices[0] for chunk in chunks]
    assert {(chunk.id, chunk.created, chunk.object) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, "chat.completion.chunk")
    }
    assert [choice.delta.role for choice in choices] == ["assistant"] + [None] * (len(choices) - 1)
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert LIST_ANSWER in "".join(choice.delta.content or "" for choice in choices)
    assert not any(chunk.usage for chunk in chunks)


@endpoint("/v1/chat/completions, include_usage")
def test_chat_streams_its_usage(openai_client: openai.OpenAI):
    *others, last = openai_client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **CHAT)
    assert last.choices == [] and last.usage and last.usage.completion_tokens > 2
    assert not any(chunk.usage for chunk in others)


@endpoint("/v1/chat/completions, tools")
def test_chat_calls_tools(openai_client: openai.OpenAI):
    (choice,) = openai_client.chat.completions.create(**ASKS_FOR_WEATHER).choices
    check_weather_call(choice)


@endpoint("/v1/chat/completions, tools, streamed")
def test_chat_calls_tools_in_a_stream(openai_client: openai.OpenAI):
    with openai_client.chat.completions.stream(**ASKS_FOR_WEATHER) as stream:
        (choice,) = stream.get_final_completion().choices
    check_weather_call(choice)


@endpoint("/v1/chat/completions, tool results")
def test_chat_uses_what_a_tool_said(openai_client: openai.OpenAI):
    calling = openai_client.chat.completions.create(**ASKS_FOR_WEATHER).choices[0].message
    (call,) = calling.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": WEATHER_RESULT}
    messages = [*WEATHER_MESSAGES, calling.model_dump(exclude_none=True), result]
    reply = openai_client.chat.completions.create(**ASKS_FOR_WEATHER | {"messages": messages})
    assert WEATHER_ANSWER in (reply.choices[0].message.content or "")


@endpoint("/v1/chat/completions, tool_choice")
def test_chat_calls_no_tool_where_none_may_be_called(openai_client: openai.OpenAI):
    (choice,) = openai_client.chat.completions.create(tool_choice="none", **ASKS_FOR_WEATHER).choices
    assert not choice.message.tool_calls
    assert choice.finish_reason in ("stop", "length")


@endpoint("/v1/chat/completions, tool_choice")
def test_chat_calls_the_tool_that_it_must(openai_client: openai.OpenAI):
    must = {"type": "function", "function": {"name": TOOL}}
    (choice,) = openai_client.chat.completions.create(**ASKS_FOR_WEATHER | {"tool_choice": must}).choices
    assert [call.function.name for call in choice.message.tool_calls] == [TOOL]


@endpoint("/v1/chat/completions, response_format")
def test_chat_keeps_to_a_schema(openai_client: openai.OpenAI):
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    reply = openai_client.chat.completions.create(response_format=wanted, **CHAT)
    assert json.loads(reply.choices[0].message.content or "").keys() == {"command"}


@endpoint("/v1/chat/completions, logprobs")
def test_chat_tells_logprobs(openai_client: openai.OpenAI):
    (choice,) = openai_client.chat.completions.create(logprobs=True, top_logprobs=2, **CHAT).choices
    told = choice.logprobs.content or [] if choice.logprobs else []
    assert "".join(one.token for one in told).startswith(choice.message.content or "?")
    assert all(len(one.top_logprobs) == 2 and one.logprob <= 0 for one in told)


@endpoint("/v1/chat/completions, n")
def test_chat_gives_as_many_answers_as_asked_for(openai_client: openai.OpenAI):
    reply = openai_client.chat.completions.create(n=2, **CHAT)
    assert [choice.index for choice in reply.choices] == [0, 1]
    assert all(LIST_ANSWER in (choice.message.content or "") for choice in reply.choices)


@endpoint("/v1/chat/completions, limits")
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_chat_ends_at_its_limit(openai_client: openai.OpenAI, name: str):
    reply = openai_client.chat.completions.create(**CHAT | {name: 3})
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage and reply.usage.completion_tokens == 3


@endpoint("/v1/chat/completions, limits")
def test_chat_ends_at_a_stop_string(openai_client: openai.OpenAI):
    (choice,) = openai_client.chat.completions.create(stop="list", **CHAT).choices
    assert choice.finish_reason == "stop"
    assert (choice.message.content or "").rstrip().endswith("oprel")


@endpoint("/v1/chat/completions, thinking")
@pytest.mark.parametrize("effort", ["none", "low"])
def test_chat_thinks_when_asked_to(openai_client: openai.OpenAI, effort: Any):
    (choice,) = openai_client.chat.completions.create(**CHAT | {"reasoning_effort": effort}).choices
    thought = getattr(choice.message, "reasoning", None) or ""
    assert bool(thought) == (effort == "low")
    assert LIST_ANSWER in (choice.message.content or "")
    assert "think>" not in thought + (choice.message.content or "")


@endpoint("/v1/chat/completions, parts")
def test_chat_takes_content_in_parts_and_developers(openai_client: openai.OpenAI):
    messages: Any = [
        {"role": "developer", "content": "You are short."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "How do I list "}, {"type": "text", "text": "my models?"}],
        },
    ]
    reply = openai_client.chat.completions.create(**PLAIN, messages=messages)
    assert reply.choices[0].message.content


@endpoint("/v1/chat/completions, options")
def test_chat_takes_options_of_the_daemon(openai_client: openai.OpenAI):
    extensions = {"options": {"num_predict": 3}, "keep_alive": -1}
    reply = openai_client.chat.completions.create(extra_body=extensions, **CHAT)
    assert reply.usage and reply.usage.completion_tokens == 3


@endpoint("/v1/completions")
def test_completion(openai_client: openai.OpenAI):
    reply = openai_client.completions.create(model=GUIDE, prompt=LIST, max_tokens=8, temperature=0)
    assert reply.object == "text_completion" and reply.id.startswith("cmpl-")
    assert reply.choices[0].text
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage and 0 < reply.usage.completion_tokens <= 8


@endpoint("/v1/completions, streamed")
def test_completion_streamed(openai_client: openai.OpenAI):
    asked: Any = {"model": GUIDE, "prompt": LIST, "max_tokens": 8, "temperature": 0}
    chunks = list(openai_client.completions.create(stream=True, stream_options={"include_usage": True}, **asked))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    whole = openai_client.completions.create(**asked)
    assert "".join(choice.text for choice in choices) == whole.choices[0].text
    assert choices[-1].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage


@endpoint("/v1/completions, list of prompts")
def test_completion_of_several_prompts(openai_client: openai.OpenAI):
    reply = openai_client.completions.create(model=GUIDE, prompt=[LIST, "hello"], max_tokens=8, temperature=0)
    assert [choice.index for choice in reply.choices] == [0, 1]


@endpoint("/v1/embeddings")
def test_embeddings_are_unit_vectors(openai_client: openai.OpenAI):
    reply = openai_client.embeddings.create(model=GUIDE, input=["the sun", "the moon"], encoding_format="float")
    assert [one.index for one in reply.data] == [0, 1]
    assert all(math.isclose(math.hypot(*one.embedding), 1.0, abs_tol=1e-5) for one in reply.data)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


@endpoint("/v1/embeddings, base64")
def test_embeddings_in_base64_are_the_same(openai_client: openai.OpenAI):
    plain = openai_client.embeddings.create(model=GUIDE, input="the sun", encoding_format="float").data[0].embedding
    packed: Any = openai_client.embeddings.create(model=GUIDE, input="the sun", encoding_format="base64")
    decoded = struct.unpack(f"<{len(plain)}f", base64.b64decode(packed.data[0].embedding))
    assert decoded == pytest.approx(plain, abs=1e-3)


@endpoint("/v1/models")
def test_models(openai_client: openai.OpenAI):
    listed = {model.id: model for model in openai_client.models.list()}
    assert listed[f"{GUIDE}:latest"].object == "model"
    assert listed[f"{GUIDE}:latest"].created > 0


@endpoint("/v1/models/{model}")
def test_one_model(openai_client: openai.OpenAI):
    assert openai_client.models.retrieve(GUIDE).id.startswith(GUIDE)


@endpoint("unknown model, /v1")
def test_an_unknown_model_is_not_found(openai_client: openai.OpenAI):
    asked: Any = {"model": "nonesuch"}
    for create in (
        lambda: openai_client.chat.completions.create(**CHAT | asked),
        lambda: openai_client.completions.create(prompt="x", **asked),
        lambda: openai_client.embeddings.create(input="x", **asked),
        lambda: openai_client.models.retrieve("nonesuch"),
    ):
        with pytest.raises(openai.NotFoundError, match="nonesuch") as caught:
            create()
        assert caught.value.type == "not_found_error"


@endpoint("bad requests, /v1")
def test_bad_requests_are_refused(openai_client: openai.OpenAI):
    bads: list[dict[str, object]] = [{"messages": []}, {"temperature": "hot"}, {"reasoning_effort": "vast"}]
    for bad in bads:
        with pytest.raises(openai.BadRequestError) as caught:
            openai_client.chat.completions.create(**CHAT | bad)
        assert caught.value.type == "invalid_request_error"
