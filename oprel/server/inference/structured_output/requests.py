"""What a request's `tool_choice` and format mean together, before an engine is asked. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from oprel.core.completion import CompletionRequest
from oprel.core.exceptions import ValidationError
from oprel.server.inference.structured_output.checks import check_schema
from oprel.server.inference.structured_output.tools import Tool, name_of, parameters_of
from oprel.utils.json.json_schema import relocated

REQUIRED = "required"


def resolved(request: CompletionRequest) -> CompletionRequest:
    """The request with the tools that may be called, and `tool_choice` "required" or None. Raises ValidationError."""
    choice, names = _choice(request.tool_choice)
    tools = request.tools if names is None else _named(request.tools, names)
    if choice == "none":
        return _with_begun_answer(replace(request, tools=(), tool_choice=None))
    if choice != REQUIRED:
        if tools and request.schema is not None and request.n > 1:
            raise ValidationError("n must be 1 with both tools and a format")
        is_usual = not request.tools and request.tool_choice is None
        return _with_begun_answer(request if is_usual else replace(request, tools=tools, tool_choice=None))
    if not tools:
        raise ValidationError("tool_choice requires a tool, and the request has none")
    if begun(request):
        raise ValidationError(
            "tool_choice requires a tool, but the last message begins an answer", "Leave out the assistant's message."
        )
    forced = replace(request, tools=tools, tool_choice=REQUIRED)
    check_schema(call_schema(tools), "tools")
    return forced


def begun(request: CompletionRequest) -> str:
    """The beginning of the answer, if the request's last message is the assistant's."""
    last = request.prompt[-1] if isinstance(request.prompt, tuple) and request.prompt else None
    return last.content if last and last.role == "assistant" and not last.tool_calls else ""


def call_schema(tools: Sequence[Tool]) -> dict[str, JsonValue]:
    """The schema of an answer that is a call of one of the tools."""
    if len(tools) == 1:
        return _call_schema(tools[0], "#")
    return {"anyOf": [_call_schema(tool, f"#/anyOf/{number}") for number, tool in enumerate(tools)]}


def _call_schema(tool: Tool, place: str) -> dict[str, JsonValue]:
    arguments = relocated(parameters_of(tool), f"{place}/properties/arguments")
    return {
        "type": "object",
        "properties": {"name": {"const": name_of(tool)}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _with_begun_answer(request: CompletionRequest) -> CompletionRequest:
    """The same; a begun answer with a format has its thoughts behind it: templates would add empty ones within it."""
    is_within = request.schema is not None and begun(request) and request.think is False
    return replace(request, think=None) if is_within else request


def _choice(choice: JsonValue) -> tuple[str, Sequence[JsonValue] | None]:
    """ "auto", "none" or "required", and the names of the tools that it is limited to. Every dialect's spelling."""
    match choice:
        case None | "" | "auto" | "none" | "required":
            return choice or "auto", None
        case "any" | {"type": "any"}:
            return REQUIRED, None
        case {"type": "auto" | "none" | "required" as mode}:
            return mode, None
        case {"type": "allowed_tools", "allowed_tools": {"mode": str(mode), "tools": list(tools)}}:
            return mode, [_name(tool) for tool in tools]
        case {"type": "allowed_tools", "mode": str(mode), "tools": list(tools)}:
            return mode, [_name(tool) for tool in tools]
    if name := _name(choice):
        return REQUIRED, [name]
    raise ValidationError(
        "tool_choice is not valid", 'Use "auto", "none", "required" or {"type": "function", "function": {"name": …}}.'
    )


def _name(choice: JsonValue) -> JsonValue:
    match choice:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
    return None


def _named(tools: Sequence[Tool], names: Sequence[JsonValue]) -> tuple[Tool, ...]:
    by_name: Mapping[JsonValue, Tool] = {name_of(tool): tool for tool in tools}
    for name in names:
        if name not in by_name:
            raise ValidationError(f"tool_choice names {name!r}, which is not one of the tools")
    return tuple(tool for tool in tools if name_of(tool) in names)
