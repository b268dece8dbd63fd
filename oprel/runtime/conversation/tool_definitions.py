"""Definitions of tools, as templates take them."""

from collections.abc import Mapping, Sequence

import orjson
from pydantic import JsonValue

from oprel.runtime.conversation.traits import Spelling, TemplateTraits
from oprel.utils.json.json_schema import LISTS, Schema, map_subschemas

Definition = Mapping[str, JsonValue]

NULLABLE = ("default", "const", "example")  # keywords whose null says something
TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", dict: "object", list: "array"}

INSTRUCTIONS = """# Tools

You may call one or more of these functions to help with the user's request. Their signatures are in <tools></tools>:
<tools>
{}
</tools>

For each call, write a JSON object with the function's name and arguments within <tool_call></tool_call>:
<tool_call>
{{"name": <function-name>, "arguments": <arguments-object>}}
</tool_call>
The next message has the results."""


def fitted(tools: Sequence[Definition], traits: TemplateTraits) -> tuple[Definition, ...]:
    """The tools as the template takes them; none if they are written as text."""
    return () if traits.tools_as_text else tuple(_fitted(tool, traits) for tool in tools)


def as_text(tools: Sequence[Definition]) -> str:
    """A system message that describes the tools, and how to call them; empty without tools."""
    return INSTRUCTIONS.format("\n".join(_json(tool) for tool in tools)) if tools else ""


def _fitted(tool: Definition, traits: TemplateTraits) -> Definition:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(given := function.get("parameters"), dict):
        return tool
    parameters = without_nulls(given)
    fitted = soft(parameters) if traits.soft_schemas and _is_odd(parameters) else parameters
    function = {**function, "parameters": fitted}
    if traits.soft_schemas:
        function.setdefault("description", "")
    details = traits.spelling is Spelling.DETAILED and _is_detailed(parameters)
    if parameters.get("properties") and (traits.spelling is Spelling.ALL or details or fitted is not parameters):
        words = (str(function.get("description") or ""), f"Parameters as JSON schema: {_json(parameters)}")
        function["description"] = "\n".join(word for word in words if word)
    return {**tool, "function": function}


def _is_odd(schema: Schema) -> bool:
    """Whether a part of the schema is not of exactly one type, or lacks what templates expect of it."""
    return any(not isinstance(value, dict) or _is_odd_property(value) for value in _properties(schema))


def _is_odd_property(schema: Schema) -> bool:
    items = schema.get("items")
    lacks_items = schema.get("type") == "array" and not (isinstance(items, dict) and isinstance(items.get("type"), str))
    is_typed = isinstance(schema.get("type"), str) and "description" in schema
    return not is_typed or lacks_items or not schema.keys().isdisjoint((*LISTS, "$ref")) or _is_odd(schema)


def _is_detailed(schema: Schema) -> bool:
    """Whether the schema has more than properties with a type and a description."""
    properties = [value for value in _properties(schema) if isinstance(value, dict)]
    return any(value.keys() - {"type", "description"} for value in properties) or len(properties) < len(
        _properties(schema)
    )


def _properties(schema: Schema) -> list[JsonValue]:
    properties = schema.get("properties")
    return list(properties.values()) if isinstance(properties, dict) else []


def _json(value: Mapping[str, JsonValue]) -> str:
    return orjson.dumps(value).decode()


def without_nulls(schema: Schema) -> dict[str, JsonValue]:
    """Without keywords that are null, which say nothing.

    >>> without_nulls({"required": None, "default": None})
    {'default': None}
    """

    def change(subschema: JsonValue) -> JsonValue:
        return without_nulls(subschema) if isinstance(subschema, dict) else subschema

    present = {name: value for name, value in schema.items() if value is not None or name in NULLABLE}
    return map_subschemas(present, change)


def soft(schema: JsonValue) -> dict[str, JsonValue]:
    """A schema of one type, with all that templates expect of that type. It admits less, or more, than the given one.

    >>> soft({"type": ["string", "null"]})
    {'description': '', 'type': 'string'}
    """
    given: Schema = schema if isinstance(schema, dict) else {}
    whole = {"description": "", **_first_alternative(given)}
    whole["type"] = kind = _type_of(whole)
    if kind == "object":
        properties, required = whole.get("properties"), whole.get("required")
        properties = properties if isinstance(properties, dict) else {}
        whole["properties"] = {name: soft(value) for name, value in properties.items()}
        whole["required"] = required if isinstance(required, list) else []
    if kind == "array":
        items = whole.get("items")
        whole["items"] = soft(items[0] if isinstance(items, list) and items else items)
    return whole


def _first_alternative(schema: Schema) -> dict[str, JsonValue]:
    """With the first alternative that is not null in place of all."""
    rest = {name: value for name, value in schema.items() if name not in LISTS}
    for name in LISTS:
        alternatives = schema.get(name)
        options = (
            [option for option in alternatives if isinstance(option, dict)] if isinstance(alternatives, list) else []
        )
        if option := next((option for option in options if option.get("type") != "null"), None):
            return _first_alternative({**option, **rest})
    return rest


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "string")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum")
    example = values[0] if isinstance(values, list) and values else schema.get("const")
    return TYPES.get(type(example), "string")
