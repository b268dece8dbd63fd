"""Formats and forced tools with a real engine, whose model would rather talk."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from oprel.utils.regex.matching import Matcher
from oprel.utils.regex.syntax import parse
from tests.conftest import DEADLINE, RunningDaemon

HELLO = [{"role": "user", "content": "Hi"}]
ROME = [{"role": "user", "content": "What time is it in Rome?"}]
OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"$ref": "#/$defs/age"}},
    "required": ["name", "age"],
    "$defs": {"age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 99}},
}
FUNCTION = {"name": "person", "description": "Person", "parameters": PERSON}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TIME = {"name": "get_time", "description": "The time in a city", "parameters": CITY}


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, timeout=DEADLINE) as client:
        yield client


def posted(http: httpx.Client, path: str, **fields: object) -> dict[str, Any]:
    body = {"model": "guide", "temperature": 0, **fields}
    if path == "/v1/chat/completions":
        body = {"messages": HELLO, "reasoning_effort": "none", "max_tokens": 100} | body
    answer: dict[str, Any] = http.post(path, json=body).raise_for_status().json()
    return answer


def formatted(http: httpx.Client, schema: object) -> Any:
    """The model's answer in a format."""
    options = {"temperature": 0, "num_predict": 100}
    body = {"model": "guide", "messages": HELLO, "format": schema, "think": False, "stream": False, "options": options}
    reply = http.post("/api/chat", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["done_reason"] == "stop"
    return json.loads(reply.json()["message"]["content"])


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9]",
        "@",
        r"^\d{3}-\d{4}$",
        r"^\w{1,5}@\w{1,5}\.com$",
        r'^"\d"$',
        r"^C:\\\w{2}$",
        r"^\s\S{2}$",
        r"^\p{Lu}{2}$",
        "^(?!a)[ab]$",
        "(?i)^yes$",
        "^é😀$",
        "^(foo|ba+r)$|^x$",
    ],
)
def test_a_pattern_is_kept(http: httpx.Client, pattern: str) -> None:
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": pattern, "maxLength": 20}}}
    code = formatted(http, schema | {"required": ["code"]})["code"]
    assert Matcher(parse(pattern)).matches(code) and len(code) <= 20


@pytest.mark.parametrize(
    "schema",
    [
        {"$schema": "http://json-schema.org/draft-07/schema#", "items": [OK, {"const": 2}], "additionalItems": False},
        {"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3},
        {"type": "integer", "minimum": 3, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": True},
        {"type": "object", "properties": {"a": {"const": 1}, "b": False}, "required": ["a"]},
        {"type": "array", "items": True, "maxItems": 0},
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
    ],
)  # fmt: skip
def test_a_schema_of_any_draft_is_kept(http: httpx.Client, schema: dict[str, Any]) -> None:
    answer = formatted(http, schema)
    if isinstance(schema.get("exclusiveMinimum"), bool):
        assert answer == 4
    else:
        jsonschema.validate(answer, schema)


@pytest.mark.parametrize("schema", [{"pattern": r"\bword\b"}, {"type": "odd"}, {"items": {"pattern": "("}}])
def test_a_format_that_cannot_be_kept_is_refused(http: httpx.Client, schema: object) -> None:
    reply = http.post("/api/chat", json={"model": "guide", "messages": HELLO, "format": schema})
    assert reply.status_code == 400 and reply.json()["error"].startswith("invalid format: ")


@pytest.mark.parametrize("keyword", ["items", "not", "additionalProperties"])
@pytest.mark.parametrize("levels", [90, 240])
def test_a_very_deep_schema_is_refused_in_formats_and_tools(http: httpx.Client, keyword: str, levels: int) -> None:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {keyword: schema}
    tool = {"function": {"name": "t", "parameters": schema}}
    for fields in ({"format": schema}, {"tools": [tool]}, {"tools": [tool], "tool_choice": "required"}):
        reply = http.post("/api/chat", json={"model": "guide", "messages": HELLO, **fields})
        assert reply.status_code == 400, reply.text


def test_prompts_without_a_template_keep_a_format_too(http: httpx.Client) -> None:
    raw = {"prompt": "{", "raw": True, "format": OK, "stream": False, "options": {"temperature": 0, "num_predict": 50}}
    assert json.loads(posted(http, "/api/generate", **raw)["response"]).keys() == {"ok"}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": OK}}
    fields = {"prompt": "{", "raw": True, "max_tokens": 50, "response_format": format}
    assert json.loads(posted(http, "/v1/completions", **fields)["choices"][0]["text"]).keys() == {"ok"}


FORMATS = (
    {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": OK}},
    {"type": "json_schema", "schema": OK},
    {"type": "json_object", "schema": OK},
    {"type": "json_object", "json_schema": {"schema": OK}},
)


@pytest.mark.parametrize("format", FORMATS)
def test_every_spelling_of_a_response_format_is_read(http: httpx.Client, format: object) -> None:
    chat = posted(http, "/v1/chat/completions", response_format=format)
    assert json.loads(chat["choices"][0]["message"]["content"]).keys() == {"ok"}
    limit = {"max_output_tokens": 100, "reasoning": {"effort": "none"}}
    response = posted(http, "/v1/responses", input="Hi", text={"format": format}, **limit)
    assert json.loads(response["output"][-1]["content"][0]["text"]).keys() == {"ok"}


@pytest.mark.parametrize("format", [{"type": "json_schema"}, {"type": "regex"}, {"type": "json_schema", "schema": "x"}])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/completions"])
def test_other_response_formats_are_refused(http: httpx.Client, path: str, format: object) -> None:
    where = {"text": {"format": format}} if path == "/v1/responses" else {"response_format": format}
    body = {"model": "guide", "messages": HELLO, "input": "Hi", "prompt": "Hi", **where}
    assert http.post(path, json=body).status_code == 400


@pytest.mark.parametrize("where", ["output_format", "output_config"])
def test_anthropics_formats_are_kept(http: httpx.Client, where: str) -> None:
    format = {"type": "json_schema", "schema": OK}
    fields = {where: format if where == "output_format" else {"format": format}}
    thinking = {"type": "disabled"}
    answer = posted(http, "/v1/messages", messages=HELLO, max_tokens=100, thinking=thinking, **fields)
    assert json.loads(answer["content"][-1]["text"]).keys() == {"ok"}


# Tools


def calls_of(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls in the answer of any dialect."""
    if "choices" in answer:
        calls = answer["choices"][0]["message"].get("tool_calls") or []
        return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls]
    if "output" in answer:
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        return [(call["name"], json.loads(call["arguments"])) for call in calls]
    if "content" in answer:
        return [(block["name"], block["input"]) for block in answer["content"] if block["type"] == "tool_use"]
    return [(call["function"]["name"], call["function"]["arguments"]) for call in answer["message"]["tool_calls"]]


CHAT_TOOL = {"type": "function", "function": FUNCTION}
OTHER = {"type": "function", "function": TIME}
BOTH = {"tools": [OTHER], "response_format": {"type": "json_schema", "json_schema": {"schema": OK}}}
FORCED: dict[str, tuple[str, dict[str, Any]]] = {
    "required": ("/v1/chat/completions", {"tools": [CHAT_TOOL], "tool_choice": "required"}),
    "named": (
        "/v1/chat/completions",
        {"tools": [OTHER, CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "person"}}},
    ),
    "thinking": ("/v1/chat/completions", {"tools": [CHAT_TOOL], "tool_choice": "any", "reasoning_effort": "low"}),
    "responses": (
        "/v1/responses",
        {"input": "Hi", "tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"},
    ),
    "messages any": (
        "/v1/messages",
        {
            "messages": HELLO,
            "max_tokens": 200,
            "tools": [{"name": "person", "input_schema": PERSON}],
            "tool_choice": {"type": "any"},
        },
    ),
    "ollama": ("/api/chat", {"messages": HELLO, "stream": False, "tools": [CHAT_TOOL], "tool_choice": "required"}),
}


@pytest.mark.parametrize("dialect", FORCED)
def test_a_forced_tool_is_called_with_arguments_that_fit(http: httpx.Client, dialect: str) -> None:
    path, fields = FORCED[dialect]
    answer = posted(http, path, **fields)
    ((name, arguments),) = calls_of(answer)
    assert name == "person"
    jsonschema.validate(arguments, PERSON)
    if "choices" in answer:
        assert answer["choices"][0]["finish_reason"] == "tool_calls" and not answer["choices"][0]["message"]["content"]


def test_one_of_several_tools_is_called(http: httpx.Client) -> None:
    ((name, _),) = calls_of(posted(http, "/v1/chat/completions", tools=[OTHER, CHAT_TOOL], tool_choice="required"))
    assert name in ("person", "get_time")


def test_with_tool_choice_none_no_tool_is_called_nor_its_markup_sent(http: httpx.Client) -> None:
    answer = posted(http, "/v1/chat/completions", messages=ROME, tools=[OTHER], tool_choice="none")
    assert not calls_of(answer) and "<tool_call>" not in answer["choices"][0]["message"]["content"]


def streamed(http: httpx.Client, **fields: object) -> list[dict[str, Any]]:
    """The choices of a streamed answer."""
    body = {"model": "guide", "temperature": 0, "reasoning_effort": "none", "stream": True, **fields}
    events = http.post("/v1/chat/completions", json=body).text.removesuffix("data: [DONE]\n\n").split("\n\n")
    return [json.loads(event.removeprefix("data: "))["choices"][0] for event in events if event]


def test_a_tool_is_called_where_there_is_a_format_too(http: httpx.Client) -> None:
    assert [name for name, _ in calls_of(posted(http, "/v1/chat/completions", messages=ROME, **BOTH))] == ["get_time"]
    *parts, last = streamed(http, messages=ROME, **BOTH)
    assert [call["function"]["name"] for part in parts for call in part["delta"].get("tool_calls", ()) if "id" in call]
    assert last["finish_reason"] == "tool_calls"


def test_an_answer_follows_the_format_where_no_tool_is_called(http: httpx.Client) -> None:
    answer = posted(http, "/v1/chat/completions", **BOTH)
    assert json.loads(answer["choices"][0]["message"]["content"]).keys() == {"ok"}
    *parts, last = streamed(http, messages=HELLO, **BOTH)
    assert json.loads("".join(part["delta"]["content"] for part in parts)).keys() == {"ok"}
    assert last["finish_reason"] == "stop"


@pytest.mark.parametrize("think", [None, False])
def test_an_answer_that_the_client_began_goes_on_in_its_format(http: httpx.Client, think: bool | None) -> None:
    begun = [*HELLO, {"role": "assistant", "content": '{"ok":'}]
    body = {"messages": begun, "format": OK, "think": think, "stream": False, "options": {"temperature": 0}}
    rest = posted(http, "/api/chat", **body)["message"]["content"]
    assert json.loads('{"ok":' + rest).keys() == {"ok"}


def test_a_beginning_that_does_not_fit_the_format_is_refused(http: httpx.Client) -> None:
    begun = [*HELLO, {"role": "assistant", "content": "Sure: "}]
    reply = http.post("/api/chat", json={"model": "guide", "messages": begun, "format": OK})
    assert (reply.status_code, reply.json()["error"]) == (
        400,
        "the answer that the request begins does not fit the format",
    )


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
def test_what_is_no_tool_is_the_requests_fault(http: httpx.Client, path: str) -> None:
    body = {"model": "guide", "messages": HELLO, "tools": [CHAT_TOOL, {"type": "function", "function": {"name": ""}}]}
    reply = http.post(path, json=body)
    assert reply.status_code == 400 and "tools[1]" in reply.text
