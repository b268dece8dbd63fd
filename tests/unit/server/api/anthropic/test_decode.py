"""Anthropic's requests as jobs."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest

from oprel.core.completion import CompletionRequest, LoadOptions, PromptMessage, ToolCall
from oprel.core.exceptions import OprelError
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.server.api.anthropic import decode as anthropic_decode
from oprel.server.api.anthropic.types import CountTokensRequest, MessagesRequest
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel

HELLO = {"role": "user", "content": "hello"}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}},
    "additionalProperties": False,
}
TOOL = {"name": "weather", "description": "The weather of a city", "input_schema": SCHEMA}
USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}


class AbleModel(InstalledModel):
    """Can all that a request may ask for."""

    @property
    def capabilities(self) -> list[str]:
        return ["completion", "tools", "thinking", "vision"]


@pytest.fixture
def able(tiny: Path) -> AbleModel:
    return AbleModel(
        name="able:latest",
        manifest=Manifest(name="able:latest", weights=tiny),
        header=read_gguf(tiny),
        modified=datetime.now(UTC),
    )


@pytest.fixture
def plain(tiny: Path) -> InstalledModel:
    return InstalledModel(
        name="tiny:latest",
        manifest=Manifest(name="tiny:latest", weights=tiny),
        header=read_gguf(tiny),
        modified=datetime.now(UTC),
    )


def job(model: InstalledModel, **fields: Any) -> Job:
    body = {"model": "asked", "max_tokens": 100, "messages": [HELLO], **fields}
    return anthropic_decode.job(MessagesRequest.model_validate(body), model)


def request(model: InstalledModel, **fields: Any) -> CompletionRequest:
    return job(model, **fields).request


MESSAGES: dict[str, tuple[dict[str, Any], list[PromptMessage]]] = {
    "a text": ({}, [PromptMessage("user", "hello")]),
    "a system text": ({"system": "Be kind."}, [PromptMessage("system", "Be kind."), PromptMessage("user", "hello")]),
    "system blocks": (
        {"system": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}} for text in ("a", "b")]},
        [PromptMessage("system", "a\nb"), PromptMessage("user", "hello")],
    ),
    "a system message": (
        {"system": "a", "messages": [{"role": "system", "content": "b"}, HELLO]},
        [PromptMessage("system", "a\nb"), PromptMessage("user", "hello")],
    ),
    "neighbours": ({"messages": [HELLO, HELLO]}, [PromptMessage("user", "hello\nhello")]),
    "an image": (
        {"messages": [{"role": "user", "content": [IMAGE, {"type": "text", "text": "what is it?"}]}]},
        [PromptMessage("user", "what is it?", images=("aGk=",))],
    ),
    "a document": (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "doc"}}]}]},
        [PromptMessage("user", "doc")],
    ),
    "a beginning of the answer": (
        {"messages": [HELLO, {"role": "assistant", "content": "Well,"}]},
        [PromptMessage("user", "hello"), PromptMessage("assistant", "Well,")],
    ),
    "what other providers leave behind": (
        {
            "messages": [
                HELLO,
                {
                    "role": "assistant",
                    "content": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "hi"}],
                },
            ]
        },
        [PromptMessage("user", "hello"), PromptMessage("assistant", "hi")],
    ),
}


@pytest.mark.parametrize(("fields", "messages"), MESSAGES.values(), ids=MESSAGES)
def test_messages(able: InstalledModel, fields: dict[str, Any], messages: list[PromptMessage]) -> None:
    assert request(able, **fields).prompt == tuple(messages)


def test_a_tools_use_and_its_results(able: InstalledModel) -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": ""}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}, IMAGE]}
    failure = {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such city", "is_error": True}
    turns = [
        HELLO,
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Let me see."}, USE]},
        {"role": "assistant", "content": [{**USE, "id": "toolu_2", "input": {}}]},
        {"role": "user", "content": [result, failure, {"type": "text", "text": "And?"}]},
    ]
    calls = (ToolCall("toolu_1", "weather", {"city": "Oslo"}), ToolCall("toolu_2", "weather", {}))
    assert request(able, messages=turns, tools=[TOOL]).prompt == (
        PromptMessage("user", "hello"),
        PromptMessage("assistant", "Let me see.", "hm", tool_calls=calls),
        PromptMessage("tool", "rain", tool_call_id="toolu_1", tool_name="weather", images=("aGk=",)),
        PromptMessage("tool", "Error: no such city", tool_call_id="toolu_2", tool_name="weather"),
        PromptMessage("user", "And?"),
    )


def test_the_models_own_system_message_gives_way_to_the_requests(able: InstalledModel) -> None:
    owned = replace(able, manifest=replace(able.manifest, system="own", messages=(("user", "before"),)))
    user = PromptMessage("user", "hello")
    assert request(owned).prompt == (PromptMessage("system", "own"), PromptMessage("user", "before"), user)
    assert request(owned, system="mine").prompt == (
        PromptMessage("system", "mine"),
        PromptMessage("user", "before"),
        user,
    )


def test_limits_go_by_the_engines_names_and_before_options(able: InstalledModel) -> None:
    given = {"temperature": 0.5, "top_p": 0.7, "top_k": 3, "stop_sequences": ["END"], "max_tokens": 7}
    asked = job(able, **given, options={"temperature": 2, "seed": 5, "num_ctx": 512}, keep_alive="1m")
    sampling = asked.request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.stop) == (0.5, 0.7, 3, ("END",))
    assert (sampling.num_predict, sampling.seed) == (7, 5)
    assert (asked.load, asked.keep_alive) == (LoadOptions(num_ctx=512), 60)


def test_the_models_own_parameters_hold_where_the_request_has_none(able: InstalledModel) -> None:
    owned = replace(able, manifest=replace(able.manifest, parameters={"temperature": 0.1, "stop": ["own"]}))
    sampling = request(owned).sampling
    assert (sampling.temperature, sampling.stop) == (0.1, ("own",))


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"output_config": {"effort": "medium"}}, "medium"),
        ({"output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"output_config": {"effort": "someday"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
        ({"thinking": {"type": "enabled"}, "output_config": {"effort": "low"}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, False),
    ],
)
def test_thinking(
    able: InstalledModel, plain: InstalledModel, fields: dict[str, Any], think: bool | str | None
) -> None:
    assert request(able, **fields).think == think
    assert request(plain, **fields).think is None  # dropped: these clients send it by default


def test_a_tool_keeps_its_whole_schema(able: InstalledModel) -> None:
    (tool,) = request(able, tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}]).tools
    function = {"name": "weather", "description": "The weather of a city", "parameters": SCHEMA}
    assert tool == {"type": "function", "function": function}


@pytest.mark.parametrize(
    ("choice", "told", "parallel"),
    [
        (None, None, None),
        ({"type": "auto"}, "auto", None),
        ({"type": "any"}, "required", None),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}, None),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
    ],
)
def test_the_choice_of_tools(able: InstalledModel, choice: object, told: object, parallel: bool | None) -> None:
    asked = request(able, tools=[TOOL], tool_choice=choice)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (told, parallel)


def test_a_format_is_the_schema_of_the_answer(able: InstalledModel) -> None:
    assert request(able, output_config={"format": {"type": "json_schema", "schema": SCHEMA}}).schema == SCHEMA


def test_a_prompt_is_never_cut(able: InstalledModel) -> None:
    assert request(able).truncate is False


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no limit": ({"max_tokens": None}, "max_tokens is required and must be positive"),
    "no room": ({"max_tokens": 0}, "max_tokens is required and must be positive"),
    "no messages": ({"messages": []}, "messages is required"),
    "no content": ({"messages": [{"role": "user", "content": []}]}, "at least one must have content"),
    "an image's address": (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]},
        'an image with a source of type "url" is not supported',
    ),
    "an image that is none": (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "?"}}]}]},
        "an image is not base64",
    ),
    "a document in PDF": (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": "x"}}]}]},
        'a document with a source of type "base64" is not supported',
    ),
    "a tool of Anthropic's": (
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        'tools of type "web_search_20250305" are Anthropic\'s own',
    ),
    "a schema that is none": (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "thing"}}}},
        "invalid format",
    ),
}


@pytest.mark.parametrize(("fields", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(able: InstalledModel, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OprelError, match=complaint) as caught:
        job(able, **fields)
    assert caught.value.http_status == 400


def test_images_are_refused_by_a_model_without_sight(plain: InstalledModel) -> None:
    with pytest.raises(OprelError, match="does not support images"):
        job(plain, messages=[{"role": "user", "content": [IMAGE]}])


def test_tools_are_for_every_model(plain: InstalledModel) -> None:
    assert job(plain, tools=[TOOL]).request.tools


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([{"role": "robot", "content": "x"}], "messages.0.role"),
        ([{"role": "user", "content": 5}], "messages.0.content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text.text"),
        ([{"role": "user", "content": [{"type": "hologram"}]}], "messages.0.content.0"),
        ([{"role": "assistant", "content": [{"type": "tool_use", "id": "x"}]}], "messages.0.content.0.tool_use.name"),
    ],
)
def test_a_fault_is_told_with_its_place(messages: object, place: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        MessagesRequest.model_validate({"model": "asked", "max_tokens": 1, "messages": messages})
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == place


def test_a_count_needs_no_limit(able: InstalledModel) -> None:
    asked = CountTokensRequest.model_validate({"model": "able", "messages": [HELLO], "tools": [TOOL]})
    assert anthropic_decode.job(asked, able).request.prompt == (PromptMessage("user", "hello"),)
