"""What tool_choice, tools and formats mean together, and how engines are asked for them."""

import json
from dataclasses import replace

import pytest
from pydantic import JsonValue

from oprel.core.completion import CompletionRequest, PromptMessage
from oprel.core.exceptions import BackendError, ValidationError
from oprel.server.inference.structured_output.requests import begun, call_schema, resolved
from oprel.server.inference.structured_output.tools import function_tools, name_of
from tests.fixtures.memory_engine import MemoryEngine
from tests.fixtures.pool import MakePool

ADD, SUBTRACT = function_tools(
    [{"function": {"name": "add", "parameters": {"$ref": "#/$defs/n", "$defs": {"n": {}}}}}, {"name": "subtract"}]
)
HELLO = PromptMessage("user", "Hello")
CHAT = CompletionRequest((HELLO,), tools=(ADD, SUBTRACT))
BEGUN = (HELLO, PromptMessage("assistant", '{"ok":'))
SCHEMA: dict[str, JsonValue] = {"properties": {"ok": {"type": "boolean"}}}


@pytest.mark.parametrize(
    ("choice", "names", "is_forced"),
    [
        (None, ["add", "subtract"], False),
        ("auto", ["add", "subtract"], False),
        ({"type": "auto"}, ["add", "subtract"], False),
        ("none", [], False),
        ({"type": "none"}, [], False),
        ("required", ["add", "subtract"], True),
        ("any", ["add", "subtract"], True),
        ({"type": "any"}, ["add", "subtract"], True),
        ({"type": "function", "function": {"name": "add"}}, ["add"], True),
        ({"type": "function", "name": "add"}, ["add"], True),
        ({"type": "tool", "name": "add"}, ["add"], True),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]}, ["add"], True),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"function": {"name": "add"}}]}},
            ["add"],
            False,
        ),
    ],
)
def test_every_spelling_of_tool_choice_is_read(choice: JsonValue, names: list[str], is_forced: bool) -> None:
    request = resolved(replace(CHAT, tool_choice=choice))
    assert [name_of(tool) for tool in request.tools] == names
    assert (request.tool_choice == "required") is is_forced


@pytest.mark.parametrize("choice", ["sometimes", {"type": "function", "name": "divide"}, {"type": "odd"}, 7, ["add"]])
def test_another_choice_is_refused(choice: JsonValue) -> None:
    with pytest.raises(ValidationError, match="tool_choice"):
        resolved(replace(CHAT, tool_choice=choice))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (CompletionRequest((HELLO,), tool_choice="required"), "the request has none"),
        (replace(CHAT, prompt=BEGUN, tool_choice="required"), "begins an answer"),
        (replace(CHAT, schema={}, n=2), "n must be 1"),
    ],
)
def test_what_cannot_be_kept_is_refused(request_: CompletionRequest, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        resolved(request_)


def test_references_in_parameters_still_lead_to_their_schema() -> None:
    schema = call_schema((SUBTRACT, ADD))
    assert json.dumps(schema).count('"#/anyOf/1/properties/arguments/$defs/n"') == 1


def test_a_begun_answer_with_a_format_has_no_empty_thoughts_in_it() -> None:
    request = CompletionRequest(BEGUN, schema=SCHEMA, think=False)
    assert (begun(request), resolved(request).think) == ('{"ok":', None)
    assert resolved(replace(request, schema=None)).think is False


@pytest.mark.parametrize("text", ["true}", "tr ue}", "1}"])
async def test_a_begun_answer_is_checked_as_a_whole(make_pool: MakePool, text: str) -> None:
    answer = await make_pool(MemoryEngine(words=(text,))).ask(CompletionRequest(BEGUN, schema=SCHEMA))
    assert (answer.error is None) is (text == "true}")


async def test_a_forced_call_comes_in_parts_and_then_as_a_whole(make_pool: MakePool) -> None:
    words = ('{"name": ', '"sub', 'tract", "arguments"', ': {"a": "}\\"', '{", "b": [{}]', "} ", "}")
    pool = make_pool(MemoryEngine(words=words))
    answer = await pool.ask(replace(CHAT, tool_choice="required"))
    events = [json.loads(chunk.event) for chunk in answer.chunks if b"tool_calls" in chunk.event]
    parts = [choice["delta"]["tool_calls"][0] for event in events for choice in event["choices"] if choice["delta"]]
    assert len(parts) > 2 and len({part.get("id") for part in parts}) == 2, "the first has the id"
    assert (parts[0]["function"]["name"], parts[0]["id"]) == ("subtract", answer.chunks[-1].tool_calls[0].id)
    arguments = {"a": '}"{', "b": [{}]}
    assert json.loads("".join(part["function"]["arguments"] for part in parts)) == arguments
    assert [(call.name, call.arguments) for chunk in answer.chunks for call in chunk.tool_calls] == [
        ("subtract", arguments)
    ]
    assert events[-1]["choices"][-1]["finish_reason"] == "tool_calls" and not any(chunk.text for chunk in answer.chunks)


@pytest.mark.parametrize("text", ["I would rather talk.", '{"name": "divide", "arguments": {}}', '{"name": "add"}'])
async def test_what_is_no_call_is_an_error(make_pool: MakePool, text: str) -> None:
    answer = await make_pool(MemoryEngine(words=(text,))).ask(replace(CHAT, tool_choice="required"))
    assert isinstance(answer.error, BackendError) and answer.done is None


async def test_with_tools_and_a_format_the_format_is_asked_for_where_no_tool_is_called(make_pool: MakePool) -> None:
    pool = make_pool(MemoryEngine(words=('{"ok": ', "true}")))
    answer = await pool.ask(replace(CHAT, schema=SCHEMA))
    first, second = pool.engines[0].requests
    assert (first.schema, first.tools) == (None, CHAT.tools)
    assert (second.schema, second.tools, second.tool_choice) == (SCHEMA, CHAT.tools, "none")
    assert answer.done and (answer.done.text, answer.done.usage.completion_tokens) == ('{"ok": true}', 4)
