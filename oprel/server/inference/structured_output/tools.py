"""Definitions of tools, as clients send them, in OpenAI's form. Pure."""

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from oprel.core.exceptions import ValidationError
from oprel.server.inference.structured_output.checks import check_size
from oprel.server.inference.structured_output.drafts import modern

Tool = Mapping[str, JsonValue]

ADVICE = 'A tool is {"type": "function", "function": {"name": …, "description": …, "parameters": …}}.'


def function_tools(given: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, each complete; also those without a type, or in the flat form of other APIs. Raises ValidationError.

    >>> function_tools([{"function": {"name": "now", "description": None}}])
    ({'type': 'function', 'function': {'name': 'now', 'parameters': {'type': 'object', 'properties': {}}}},)
    """
    return tuple(_function_tool(tool, number) for number, tool in enumerate(given))


def name_of(tool: Tool) -> str:
    function = tool["function"]
    assert isinstance(function, dict)
    return str(function["name"])


def parameters_of(tool: Tool) -> Mapping[str, JsonValue]:
    function = tool["function"]
    assert isinstance(function, dict)
    parameters = function["parameters"]
    assert isinstance(parameters, dict)
    return parameters


def _function_tool(tool: Tool, number: int) -> Tool:
    function = tool.get("function")
    if "function" not in tool and isinstance(tool.get("name"), str):
        function = {name: value for name, value in tool.items() if name != "type"}
    if tool.get("type") not in (None, "", "function"):
        raise ValidationError(f'tools[{number}]: tools of type "{tool.get("type")}" are not supported', ADVICE)
    if not isinstance(function, dict):
        raise ValidationError(f"tools[{number}] has no function", ADVICE)
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise ValidationError(f"tools[{number}] has no name", ADVICE)
    description, parameters = function.get("description"), function.get("parameters")
    if not isinstance(description, str | None):
        raise ValidationError(f"tools[{number}]: the description is not a text", ADVICE)
    if not isinstance(parameters, dict | None):
        raise ValidationError(f"tools[{number}]: the parameters are not a JSON schema", ADVICE)
    check_size(parameters or {}, f"tools[{number}]")
    given = {key: value for key, value in function.items() if value is not None}
    return {"type": "function", "function": {**given, "parameters": _complete(parameters or {})}}


def _complete(parameters: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema of an object, which templates and engines expect."""
    schema = modern(parameters)
    is_object = schema.keys() & {"type", "properties", "$ref", "anyOf", "oneOf", "allOf"}
    return schema if is_object else {"type": "object", "properties": {}, **schema}
