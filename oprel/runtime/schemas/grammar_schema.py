"""A JSON schema in the form that engines turn into a grammar.

llama-server (b11549) does not know schemas that are booleans, tuples with further items, exclusive bounds beside
inclusive ones, a schema that refers to itself as a whole, and most patterns. They are written as what it knows. The
result may admit fewer answers than the schema. Where it admits others, the check of the answer finds them.
"""

import math
from collections.abc import Mapping

from pydantic import JsonValue

from oprel.runtime.schemas.grammar_pattern import grammar_pattern
from oprel.utils.json.json_schema import Schema, map_subschemas, relocated, schemas_in

ROOT = "root"


def grammar_schema(schema: Schema, *, patterns: bool = True) -> dict[str, JsonValue]:
    """Without `patterns` they stay as they are: a model that reads the schema is to understand them."""
    if any(part.get("$ref") == "#" for part in schemas_in(dict(schema))):  # engines follow only "#/…"
        inner = relocated(schema, f"#/$defs/{ROOT}")
        return {"$ref": f"#/$defs/{ROOT}", "$defs": {ROOT: _written(inner, patterns)}}
    return _written(schema, patterns)


def grammar_tool(tool: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The tool with parameters in this form."""
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(parameters := function.get("parameters"), dict):
        return tool
    return {**tool, "function": {**function, "parameters": grammar_schema(parameters, patterns=False)}}


def _written(schema: Schema, patterns: bool) -> dict[str, JsonValue]:
    def change(subschema: JsonValue) -> JsonValue:
        if isinstance(subschema, dict):
            return _written(subschema, patterns)
        return {} if subschema is True else subschema

    written = map_subschemas(schema, change)
    if isinstance(schema.get("additionalProperties"), bool):  # engines know it, and `{}` is no different from `true`
        written["additionalProperties"] = schema["additionalProperties"]
    written = _without_impossible(written)
    if "prefixItems" in written or written.get("items") is False:
        written = _array(written)
    if written.get("type") == "integer":
        written = _integer(written)
    if patterns and isinstance(pattern := written.get("pattern"), str):
        written = _string(written, pattern)
    return written


def _without_impossible(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Without the schema `false` among properties and alternatives."""
    possible: dict[str, JsonValue] = {}
    properties = schema.get("properties")
    if isinstance(properties, dict) and False in properties.values():
        possible["properties"] = {name: value for name, value in properties.items() if value is not False}
    for keyword in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(keyword), list) and False in options:
            possible[keyword] = [option for option in options if option is not False]
    return schema | possible


def _array(schema: Schema) -> dict[str, JsonValue]:
    """With a tuple of fixed length, the shortest that is permitted and has all of `prefixItems`, or an empty array."""
    first, further = schema.get("prefixItems"), schema.get("items", {})
    items = list(first) if isinstance(first, list) else []
    least, most = schema.get("minItems"), schema.get("maxItems")
    if further is not False and isinstance(least, int):
        items += [further] * (least - len(items))
    items = items[:most] if isinstance(most, int) else items
    rest = {name: value for name, value in schema.items() if name not in ("items", "prefixItems")}
    return rest | ({"prefixItems": items} if items else {"items": {}, "maxItems": 0})


def _integer(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """With inclusive bounds only."""
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    given = {name: value for name in names if isinstance(value := schema.get(name), int | float)}
    lows = [math.ceil(given["minimum"])] if "minimum" in given else []
    lows += [math.floor(given["exclusiveMinimum"]) + 1] if "exclusiveMinimum" in given else []
    highs = [math.floor(given["maximum"])] if "maximum" in given else []
    highs += [math.ceil(given["exclusiveMaximum"]) - 1] if "exclusiveMaximum" in given else []
    rest = {name: value for name, value in schema.items() if name not in given}
    return rest | ({"minimum": max(lows)} if lows else {}) | ({"maximum": min(highs)} if highs else {})


def _string(schema: Mapping[str, JsonValue], pattern: str) -> dict[str, JsonValue]:
    """With a pattern that engines know, which includes the bounds of the length, or without any."""
    least, most = (value if isinstance(value := schema.get(name), int) else None for name in ("minLength", "maxLength"))
    written = grammar_pattern(pattern, least or 0, most)
    rest = {name: value for name, value in schema.items() if name != "pattern"}
    return {**rest, "pattern": written} if written else rest
