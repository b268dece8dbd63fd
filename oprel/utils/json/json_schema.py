"""Where a JSON schema has other schemas in it. Pure."""

from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

Schema = Mapping[str, JsonValue]

MAPS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLE = (
    *("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"),
    *("unevaluatedItems", "unevaluatedProperties"),
)


def map_subschemas(schema: Schema, change: Callable[[JsonValue], JsonValue]) -> dict[str, JsonValue]:
    """The schema with each schema directly in it changed. Schemas may be booleans.

    >>> map_subschemas({"items": True, "enum": [True]}, lambda subschema: {})
    {'items': {}, 'enum': [True]}
    """

    def changed(keyword: str, value: JsonValue) -> JsonValue:
        if keyword in MAPS and isinstance(value, dict):
            return {name: change(subschema) for name, subschema in value.items()}
        if isinstance(value, list) and (keyword in LISTS or keyword == "items"):
            return [change(subschema) for subschema in value]
        return change(value) if keyword in SINGLE else value

    return {keyword: changed(keyword, value) for keyword, value in schema.items()}


def schemas_in(schema: JsonValue) -> Iterator[Schema]:
    """The schema, and every schema in it, without booleans."""
    pending = [schema]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            yield current
            map_subschemas(current, lambda subschema: pending.append(subschema))


def relocated(schema: Schema, place: str) -> dict[str, JsonValue]:
    """The schema for use at `place` of another document: its references lead there.

    >>> relocated({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#"}}}, "#/items")
    {'$ref': '#/items/$defs/a', '$defs': {'a': {'$ref': '#/items'}}}
    """

    def change(subschema: JsonValue) -> JsonValue:
        return relocated(subschema, place) if isinstance(subschema, dict) else subschema

    moved = map_subschemas(schema, change)
    reference = moved.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        moved["$ref"] = place + reference[1:]
    return moved
