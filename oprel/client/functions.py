"""Python functions as tools: their JSON schema from annotations and a docstring in Google's style."""

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
    """The tool that `function` is: an argument without annotation is a string, one with a default may be left out.

    >>> def add(a: int, b: int = 0) -> int:
    ...     '''Add two numbers.
    ...
    ...     Args:
    ...         a: the first
    ...     '''
    >>> function_tool(add).function.parameters.properties["a"].model_dump(exclude_none=True)
    {'type': 'integer', 'description': 'the first'}

    Raises RequestError for an annotation that has no JSON schema.
    """
    name = getattr(function, "__name__", type(function).__name__)
    parameters = _parameters(function, name)
    summary, told = _documentation(inspect.getdoc(function) or "", parameters)
    schemas = {parameter: _schema(name, one) for parameter, one in parameters.items()}
    definitions = {key: value for schema in schemas.values() for key, value in _taken_definitions(schema).items()}
    for parameter, schema in schemas.items():
        schema["description"] = told.get(parameter, schema.get("description", ""))
    arguments: dict[str, object] = {
        "type": "object",
        "properties": schemas,
        "required": [parameter for parameter, one in parameters.items() if one.default is one.empty],
    }
    if definitions:
        arguments["$defs"] = definitions
    described = {"name": name, "description": summary, "parameters": arguments}
    return Tool.model_validate({"type": "function", "function": described})


def _parameters(function: Callable[..., object], name: str) -> Mapping[str, inspect.Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, ValueError) as error:
        raise RequestError(f"{name} cannot be a tool: {error}", "Describe it as a JSON schema instead.") from error
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {key: one for key, one in signature.parameters.items() if one.kind not in variable}


def _schema(function: str, parameter: inspect.Parameter) -> Schema:
    from pydantic import TypeAdapter  # only here: clients that pass no function start faster

    annotation = str if parameter.annotation is parameter.empty else parameter.annotation
    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise RequestError(
            f"{function} cannot be a tool: {parameter.name} is a {annotation}, which has no JSON schema",
            "Annotate it with a type of JSON or a pydantic model.",
        ) from error
    return schema if parameter.default is parameter.empty else _without_null(schema)


def _without_null(schema: Schema) -> Schema:
    """`int | None` as an integer, for an argument that may as well be left out."""
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    others = [choice for choice in choices if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if len(others) == 1 and isinstance(others[0], dict):
        return {**others[0], **rest}
    return {"anyOf": others, **rest}


def _taken_definitions(schema: Schema) -> Schema:
    """The definitions that `schema` refers to, taken out of it: references count from the top of all arguments."""
    definitions = schema.pop("$defs", {})
    return definitions if isinstance(definitions, dict) else {}


def _documentation(docstring: str, parameters: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function, and of each parameter."""
    summary: list[str] = []
    told: dict[str, str] = {}
    section, last = "", ""
    for whole in docstring.splitlines():
        line, title = whole.strip(), whole.lower()  # the title of a section is not indented
        if title.startswith(ARGUMENTS + OTHER_SECTIONS):
            section = title.strip()
        elif not section:
            summary.append(line)
        elif section in ARGUMENTS and (match := _ARGUMENT.match(line)) and match["name"] in parameters:
            last = match["name"]
            told[last] = match["text"]
        elif section in ARGUMENTS and last and line:
            told[last] = f"{told[last]} {line}".strip()
    return "\n".join(summary).strip(), told
