"""Schemas of older drafts, and of careless clients, as schemas of draft 2020-12. Pure."""

from collections.abc import Mapping

from pydantic import JsonValue

from oprel.core.exceptions import ValidationError
from oprel.utils.json.json_schema import MAPS, Schema, map_subschemas

OLD = ("draft-03", "draft-04", "draft-05", "draft-06", "draft-07")  # in them `$ref` overrides what is beside it
DEEPEST = 64  # schemas in schemas, so that none of those that walk through them exhausts the stack
VALUES = ("const", "default")  # keywords for which null is a value like others


def modern(schema: Schema) -> dict[str, JsonValue]:
    """The same schema in draft 2020-12. A keyword that is null is absent. Raises ValidationError for a very deep one.

    >>> modern({"items": [{"minimum": 1, "exclusiveMinimum": True}, True], "additionalItems": False, "title": None})
    {'prefixItems': [{'exclusiveMinimum': 1}, True], 'items': False}
    """
    declared = schema.get("$schema")
    overrides = isinstance(declared, str) and any(draft in declared for draft in OLD)
    return _modern(schema, overrides, DEEPEST)


def _modern(schema: Schema, reference_overrides: bool, levels: int) -> dict[str, JsonValue]:
    if not levels:
        raise ValidationError(f"a schema is nested too deeply: more than {DEEPEST} levels")

    def change(subschema: JsonValue) -> JsonValue:
        return _modern(subschema, reference_overrides, levels - 1) if isinstance(subschema, dict) else subschema

    present = {name: value for name, value in schema.items() if value is not None or name in VALUES}
    if reference_overrides and "$ref" in present:
        present = {name: present[name] for name in ("$ref", "$defs", "definitions") if name in present}
    present.pop("$schema", None)
    for keyword in MAPS:
        if isinstance(members := present.get(keyword), dict):
            present[keyword] = {name: value for name, value in members.items() if value is not None}
    written = _tuple(_bounds(_required(_dependencies(_references(present)))))
    return map_subschemas(written, change)


def _references(schema: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Draft 2019-09's recursion."""
    written = {name: value for name, value in schema.items() if name != "$recursiveAnchor"}
    if "$recursiveRef" in written:
        written["$ref"] = written.pop("$recursiveRef")
    return written


def _dependencies(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Draft 7's keyword, which later ones divide by what depends."""
    dependencies = schema.pop("dependencies", None)
    if isinstance(dependencies, dict):
        for name, value in dependencies.items():
            keyword = "dependentRequired" if isinstance(value, list) else "dependentSchemas"
            members = schema.setdefault(keyword, {})
            if isinstance(members, dict):
                members[name] = value
    return schema


def _required(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Draft 3's `required: true` of a property, and its type for any value."""
    if isinstance(schema.get("required"), bool):
        del schema["required"]
    if schema.get("type") == "any" or isinstance(kinds := schema.get("type"), list) and "any" in kinds:
        del schema["type"]
    properties = schema.get("properties")
    if isinstance(properties, dict):
        needed: list[JsonValue] = [
            name for name, value in properties.items() if isinstance(value, dict) and value.get("required") is True
        ]
        listed = schema.get("required")
        if needed:
            schema["required"] = [*(listed if isinstance(listed, list) else ()), *needed]
    return schema


def _bounds(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Draft 4's exclusive bounds, which are booleans beside the bound."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), bool):
            is_exclusive = schema.pop(exclusive)
            if is_exclusive and inclusive in schema:
                schema[exclusive] = schema.pop(inclusive)
    return schema


def _tuple(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A tuple, which was a list of `items` before draft 2020-12."""
    further = schema.pop("additionalItems", None)
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
        if further is not None:
            schema["items"] = further
    return schema
