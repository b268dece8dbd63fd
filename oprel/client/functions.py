"""Makes tools of Python functions, from their annotations and Google-style docstrings."""

import inspect
import re
from collections.abc import Callable, Mapping

from pydantic import JsonValue
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from oprel.client.types import RequestError, Tool

ARGUMENTS = ("args:", "arguments:")
OTHER_SECTIONS = ("returns:", "yields:", "raises:", "example:", "examples:", "note:", "notes:")
_ARGUMENT = re.compile(r"\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")

Schema = dict[str, JsonValue]


def function_tool(function: Callable[..., object]) -> Tool:
    """A tool made of `function`. An argument without annotation is a string; one with a default is optional.

    >>> def add(a: int, b: int = 0) -> int:
    ...     '''Add two numbers.
    ...
    ...     Args:
    ...         a: the first
    ...     '''
    >>> function_tool(add).function.parameters.properties["a"].model_dump(exclude_none=True)
    {'type': 'integer', 'description': 'the first'}

    Raises RequestError for an annotation without a JSON schema.
    """
    name = getattr(function, "__name__", type(function).__name__)
    parameters = _parameters(function, name)
    summary, descriptions = _documentation(inspect.getdoc(function) or "", parameters)
    schemas = {key: _schema(name, parameter) for key, parameter in parameters.items()}
    definitions = {key: value for schema in schemas.values() for key, value in _pop_definitions(schema).items()}
    for key, schema in schemas.items():
        schema["description"] = descriptions.get(key, schema.get("description", ""))
    arguments: dict[str, object] = {
        "type": "object",
        "properties": schemas,
        "required": [key for key, parameter in parameters.items() if parameter.default is parameter.empty],
    }
    if definitions:
        arguments["$defs"] = definitions
    description = {"name": name, "description": summary, "parameters": arguments}
    return Tool.model_validate({"type": "function", "function": description})


def _parameters(function: Callable[..., object], name: str) -> Mapping[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, ValueError) as error:
        raise RequestError(f"{name} cannot be a tool: {error}", "Describe it as a JSON schema instead.") from error
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {key: parameter for key, parameter in signature.parameters.items() if parameter.kind not in variable}


def _schema(function: str, parameter: inspect.Parameter) -> Schema:
    from pydantic import TypeAdapter  # imported late: slow, and only needed when a function is passed

    annotation = str if parameter.annotation is parameter.empty else parameter.annotation
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise RequestError(
            f"{function} cannot be a tool: {parameter.name} is a {annotation}, which has no JSON schema",
            "Annotate it with a JSON type or a pydantic model.",
        ) from error
    return schema if parameter.default is parameter.empty else _without_null(schema)


def _without_null(schema: Schema) -> Schema:
    """`int | None` as an integer: an optional argument can be left out instead."""
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    others = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(others) == 1 and isinstance(others[0], dict):
        return {**others[0], **rest}
    return {"anyOf": others, **rest}


def _pop_definitions(schema: Schema) -> Schema:
    """Remove and return the definitions in `schema`: references are relative to the schema of all arguments."""
    definitions = schema.pop("$defs", {})
    return definitions if isinstance(definitions, dict) else {}


def _documentation(docstring: str, parameters: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """The description of the function in its docstring, and that of each parameter."""
    summary: list[str] = []
    descriptions: dict[str, str] = {}
    section, last = "", ""
    for whole in docstring.splitlines():
        line, title = whole.strip(), whole.lower()  # section titles are not indented
        if title.startswith(ARGUMENTS + OTHER_SECTIONS):
            section = title.strip()
        elif not section:
            summary.append(line)
        elif section in ARGUMENTS and (match := _ARGUMENT.match(line)) and match["name"] in parameters:
            last = match["name"]
            descriptions[last] = match["text"]
        elif section in ARGUMENTS and last and line:
            descriptions[last] = f"{descriptions[last]} {line}".strip()
    return "\n".join(summary).strip(), descriptions
