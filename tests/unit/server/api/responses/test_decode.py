"""Requests of OpenAI's Responses API as jobs."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest

from oprel.core.completion import (
    Chunk,
    CompletionRequest,
    Finish,
    LoadOptions,
    PromptMessage,
    ToolCall,
    Usage,
)
from oprel.core.exceptions import OprelError
from oprel.core.models.manifests import Manifest
from oprel.formats.gguf import read_gguf
from oprel.server.api.common.content_blocks import blocks_of
from oprel.server.api.responses import decode as responses_decode
from oprel.server.api.responses import encode as responses_encode
from oprel.server.api.responses.types import ResponsesRequest, ResponsesTool
from oprel.server.history.stored_responses import CallersResponses, StoredResponses
from oprel.server.inference.completions import Done
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}},
    "additionalProperties": False,
}
TOOL = {"type": "function", "name": "weather", "description": "The weather", "parameters": SCHEMA, "strict": True}
FUNCTION = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "one", "name": "weather", "arguments": '{"city": "Oslo"}'}
IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGk="}


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


def job(model: InstalledModel, stored: CallersResponses | None = None, **fields: Any) -> Job:
    asked = ResponsesRequest.model_validate({"model": "asked", "input": "hello", **fields})
    return responses_decode.job(asked, model, stored or StoredResponses().of(""))


def request(model: InstalledModel, stored: CallersResponses | None = None, **fields: Any) -> CompletionRequest:
    return job(model, stored, **fields).request


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


INPUTS: dict[str, tuple[object, list[PromptMessage]]] = {
    "a text": ("hello", [PromptMessage("user", "hello")]),
    "a message without a type": ([{"role": "user", "content": "hello"}], [PromptMessage("user", "hello")]),
    "parts": (
        [{"type": "message", **user({"type": "input_text", "text": "what is it?"}, IMAGE)}],
        [PromptMessage("user", "what is it?", images=("aGk=",))],
    ),
    "a developer": (
        [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "hello"}],
        [PromptMessage("system", "Be kind."), PromptMessage("user", "hello")],
    ),
    "an answer from before": (
        [
            {"role": "user", "content": "hello"},
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "hi", "annotations": []}],
            },
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"role": "user", "content": "bye"},
        ],
        [PromptMessage("user", "hello"), PromptMessage("assistant", "hi", "hm"), PromptMessage("user", "bye")],
    ),
    "a refusal": (
        [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, {"role": "user", "content": "why?"}],
        [PromptMessage("assistant", "no"), PromptMessage("user", "why?")],
    ),
    "calls and their results": (
        [
            {"role": "user", "content": "hello"},
            CALL,
            {**CALL, "call_id": "two", "arguments": ""},
            {"type": "function_call_output", "call_id": "two", "output": [{"type": "input_text", "text": "snow"}]},
            {"type": "function_call_output", "call_id": "one", "output": "rain"},
        ],
        [
            PromptMessage("user", "hello"),
            PromptMessage(
                "assistant",
                "",
                tool_calls=(ToolCall("one", "weather", {"city": "Oslo"}), ToolCall("two", "weather", {})),
            ),
            PromptMessage("tool", "snow", tool_call_id="two", tool_name="weather"),
            PromptMessage("tool", "rain", tool_call_id="one", tool_name="weather"),
        ],
    ),
}


@pytest.mark.parametrize(("given", "messages"), INPUTS.values(), ids=INPUTS)
def test_inputs(able: InstalledModel, given: object, messages: list[PromptMessage]) -> None:
    assert request(able, input=given).prompt == tuple(messages)


def test_instructions_are_the_system_message(able: InstalledModel) -> None:
    owned = replace(able, manifest=replace(able.manifest, system="own"))
    assert request(owned).prompt == (PromptMessage("system", "own"), PromptMessage("user", "hello"))
    assert request(owned, instructions="Be kind.").prompt == (
        PromptMessage("system", "Be kind."),
        PromptMessage("user", "hello"),
    )


def test_limits_go_by_the_engines_names_and_before_options(able: InstalledModel) -> None:
    asked = job(able, temperature=0.5, max_output_tokens=7, options={"temperature": 2, "num_ctx": 512}, keep_alive=60)
    assert (asked.request.sampling.temperature, asked.request.sampling.num_predict) == (0.5, 7)
    assert (asked.load, asked.keep_alive) == (LoadOptions(num_ctx=512), 60)


def test_temperature_and_top_p_are_openais_where_nobody_sets_them(able: InstalledModel) -> None:
    owned = replace(able, manifest=replace(able.manifest, parameters={"temperature": 0.1}))
    assert (request(able).sampling.temperature, request(able).sampling.top_p) == (1.0, 1.0)
    assert (request(owned).sampling.temperature, request(owned).sampling.top_p) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("effort", "think"),
    [(None, None), ("none", False), ("minimal", "minimal"), ("high", "high"), ("xhigh", "xhigh")],
)
def test_effort(able: InstalledModel, effort: str | None, think: bool | str | None) -> None:
    assert request(able, reasoning={"effort": effort, "summary": "auto"}).think == think


@pytest.mark.parametrize(
    ("format", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {}),
        ({"type": "json_schema", "name": "weather", "schema": SCHEMA, "strict": True}, SCHEMA),
    ],
)
def test_formats(able: InstalledModel, format: object, schema: object) -> None:
    assert request(able, text={"format": format, "verbosity": "low"}).schema == schema


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_the_choice_of_tools(able: InstalledModel, choice: object, told: object) -> None:
    asked = request(able, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert (asked.tools, asked.tool_choice, asked.parallel_tool_calls) == ((FUNCTION,), told, False)


def test_a_namespace_is_its_functions(able: InstalledModel) -> None:
    space = {"type": "namespace", "name": "crm", "description": "Customers", "tools": [TOOL]}
    assert request(able, tools=[space]).tools == (FUNCTION,)
    assert responses_decode.namespaces([ResponsesTool.model_validate(space)]) == {"weather": "crm"}


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "image_generation"},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark"}},
        {"type": "mcp", "server_label": "x", "server_url": "https://x.example"},
        {"type": "not invented yet"},
        {"type": "namespace", "name": "n", "tools": [{"type": "local_shell"}]},
    ],
)
def test_other_tools_are_left_out(able: InstalledModel, tool: dict[str, object]) -> None:
    assert request(able, tools=[tool, TOOL]).tools == (FUNCTION,)


def test_what_has_no_effect_is_named() -> None:
    tools = [TOOL, {"type": "custom", "name": "x"}, {"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]
    asked = ResponsesRequest.model_validate({"tools": tools, "include": ["reasoning.encrypted_content", "usage.cost"]})
    assert responses_decode.ignored(asked) == ["tools.custom", "tools.mcp", "include.usage.cost"]


def test_references_lead_to_the_items_of_earlier_responses(able: InstalledModel) -> None:
    stored, called = StoredResponses().of(""), ToolCall("one", "weather", {"city": "Oslo"})
    asked = ResponsesRequest.model_validate({"model": "guide", "input": "hello"})
    builder = responses_encode.ResponseBuilder(asked, CompletionRequest(""), stored)
    blocks = blocks_of(Chunk("I look.", "They ask.", tool_calls=(called,)))
    items = builder.finished(blocks, Done(text="", finish=Finish.STOP, usage=Usage(), load_ns=0, total_ns=0)).output
    whole = [item.model_dump() for item in items]
    references: list[dict[str, object]] = [{"type": "item_reference", "id": item.id} for item in items]
    untyped: list[dict[str, object]] = [{"id": item.id} for item in items]
    answer = {"type": "function_call_output", "call_id": "one", "output": "sunny"}
    prompts = [request(able, stored, input=[*given, answer]).prompt for given in (whole, references, untyped)]
    assert prompts[0] == prompts[1] == prompts[2]
    assert isinstance(prompts[0], tuple) and prompts[0][0] == PromptMessage(
        "assistant", "I look.", "They ask.", tool_calls=(called,)
    )


def test_without_store_nothing_is_kept(able: InstalledModel) -> None:
    stored = StoredResponses().of("")
    asked = ResponsesRequest.model_validate({"model": "guide", "input": "hello", "store": False})
    builder = responses_encode.ResponseBuilder(asked, CompletionRequest(""), stored)
    done = Done(text="", finish=Finish.STOP, usage=Usage(), load_ns=0, total_ns=0)
    response = builder.finished(blocks_of(Chunk("hi")), done)
    assert (response.store, stored.item(response.output[0].id)) == (False, None)


@pytest.mark.parametrize(("truncation", "truncate"), [(None, False), ("disabled", False), ("auto", True)])
def test_only_truncation_lets_a_prompt_be_cut(able: InstalledModel, truncation: str | None, truncate: bool) -> None:
    assert request(able, truncation=truncation).truncate is truncate


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no input": ({"input": []}, "input is required"),
    "a response from before": ({"previous_response_id": "resp_1"}, "`previous_response_id` is not supported"),
    "a conversation": ({"conversation": "conv_1"}, "`conversation` is not supported"),
    "the background": ({"background": True}, "`background` is not supported"),
    "an image's address": ({"input": [user({"type": "input_image", "image_url": "https://x/y.png"})]}, "invalid image"),
    "an image's file": ({"input": [user({"type": "input_image", "file_id": "file_1"})]}, "invalid image"),
    "arguments that are no object": ({"input": [{**CALL, "arguments": "[1]"}]}, "not a JSON object"),
    "an unknown item": ({"input": [{"type": "item_reference", "id": "fc_9"}]}, "item 'fc_9' not found"),
    "a tool without a name": ({"tools": [{"type": "function"}]}, "needs a name"),
    "a choice of OpenAI's": ({"tools": [TOOL], "tool_choice": {"type": "mcp"}}, 'tool_choice of type "mcp"'),
    "an unknown effort": ({"reasoning": {"effort": "heroic"}}, "invalid reasoning effort"),
    "a schema that is none": ({"text": {"format": {"type": "json_schema", "schema": {"type": "x"}}}}, "invalid format"),
}


@pytest.mark.parametrize(("fields", "complaint"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(able: InstalledModel, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(OprelError, match=complaint) as caught:
        job(able, **fields)
    assert caught.value.http_status == 400


@pytest.mark.parametrize("fields", [{"input": [user(IMAGE)]}, {"reasoning": {"effort": "low"}}])
def test_what_the_model_cannot_do_is_refused(plain: InstalledModel, fields: dict[str, Any]) -> None:
    with pytest.raises(OprelError, match="does not support (images|thinking)"):
        job(plain, **fields)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (5, "input"),
        ([{"role": "robot", "content": "x"}], "input.0.message.role"),
        ([user({"type": "input_file", "file_id": "x"})], "input.0.message.content.0"),
        ([{"type": "sculpture", "id": "x"}], "input.0"),
        ([{"type": "function_call_output", "output": "x"}], "input.0.function_call_output.call_id"),
    ],
)
def test_a_fault_is_told_with_its_place(given: object, place: str) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        ResponsesRequest.model_validate({"model": "asked", "input": given})
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == place
