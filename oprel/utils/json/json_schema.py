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


def alternatives(schema: Schema) -> int:
    """In how many ways a text may be read at once, at most: an engine's grammar follows each of them.

    A few references make millions: an alternative of two that lead to an alternative of two, and so on.

    >>> either = {"type": ["null", "array"]}
    >>> alternatives({"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": either}})
    4
    """
    root, counts = dict(schema), dict[int, int]()

    def count(part: JsonValue) -> int:
        if not isinstance(part, dict):
            return 1
        if id(part) not in counts:
            counts[id(part)] = 1  # one that contains itself counts as one there
            counts[id(part)] = _sum_or_most(part, count, root)
        return counts[id(part)]

    return count(root)


def _sum_or_most(part: Schema, count: Callable[[JsonValue], int], root: dict[str, JsonValue]) -> int:
    """The sum of alternatives; of what follows each other the most, since their ways meet again in between."""
    counts = [len(types) if isinstance(types := part.get("type"), list) else 1]
    for keyword, value in part.items():
        if keyword in ("anyOf", "oneOf") and isinstance(value, list):
            counts.append(sum(map(count, value)))
        elif keyword == "$ref" and isinstance(value, str):
            counts.append(count(_at(root, value)))
        elif keyword not in ("$defs", "definitions"):
            map_subschemas({keyword: value}, lambda subschema: counts.append(count(subschema)))
    return max(counts)


def _at(root: dict[str, JsonValue], reference: str) -> JsonValue:
    """What a reference within the document leads to, or None."""
    place: JsonValue = root
    for name in reference.removeprefix("#").split("/")[1:]:
        place = place.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
    return place if reference.startswith("#") else None


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
