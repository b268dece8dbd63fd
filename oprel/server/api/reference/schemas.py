"""JSON schemas of wire types, as components of an OpenAPI document. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import CoreSchema

from oprel.api_models import RequestBody
from oprel.core.request_options import ALL_NAMES, OPTIONS, OptionType, RequestOption
from oprel.server.api.common.openai_shared import OPTION_NAMES, SamplingFields

Schema = dict[str, object]

COMPONENTS = "#/components/schemas/"
ANY_VALUE = f"{COMPONENTS}JsonValue"
OPTIONS_NAME = "Options"
REQUIRED = frozenset(("model", "source", "destination"))  # in requests; a route says so itself if one is missing
OPTIONS_FIELDS = ("options", "parameters")  # objects of these names in requests have options of a request
OPTION_TYPES: Mapping[OptionType, Schema] = {
    OptionType.INTEGER: {"type": "integer"},
    OptionType.FLOAT: {"type": "number"},
    OptionType.BOOLEAN: {"type": "boolean"},
    OptionType.TEXTS: {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


class _Untitled(GenerateJsonSchema):
    """A field's name is its title already."""

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        return False


class Schemas:
    """`components`: the schema of each wire type, by its name."""

    def __init__(self, kinds: Iterable[object], bodies: Iterable[type[RequestBody]]) -> None:
        distinct: list[Any] = [*dict.fromkeys([*kinds, *bodies])]
        adapters: list[Any] = [(kind, "validation", TypeAdapter(kind)) for kind in distinct]
        schemas, definitions = TypeAdapter.json_schemas(
            adapters,
            ref_template=f"{COMPONENTS}{{model}}",
            schema_generator=_Untitled,
        )
        self._schemas = {kind: _cleaned(schemas[kind, "validation"]) for kind in distinct}
        self.components = {name: _object(_cleaned(schema)) for name, schema in definitions["$defs"].items()}
        self.components.pop("JsonValue", None)
        for body in bodies:
            _complete(self.components[body.__name__], body)
        self.components[OPTIONS_NAME] = options_schema()

    def of(self, kind: object) -> Schema:
        return _object(self._schemas[kind])

    def either(self, kinds: Iterable[object]) -> Schema:
        """What one of the types describes."""
        schemas = [self.of(kind) for kind in dict.fromkeys(kinds)]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def options_schema() -> Schema:
    """The options of a request, under their own names."""
    return {
        "type": "object",
        "description": "Options of a request. Others are ignored, and named in the header X-Oprel-Ignored.",
        "properties": {row.name: _option(row) for row in OPTIONS.values()},
        "additionalProperties": True,
    }


def _option(row: RequestOption) -> Schema:
    return {**OPTION_TYPES[row.type], "description": row.meaning}


def _complete(schema: Schema, body: type[RequestBody]) -> None:
    """Add what the type does not say: required names, options, older names, options beside OpenAI's fields."""
    properties = _object(schema.setdefault("properties", {}))
    for name in OPTIONS_FIELDS:
        if name in properties and _object(properties[name]).get("type") == "object":
            properties[name] = {"$ref": COMPONENTS + OPTIONS_NAME}
    required = [name for name in properties if name in REQUIRED]
    if required:
        schema["required"] = required
    for older, name in body.OLDER_NAMES.items():
        if name in properties and older not in properties:
            properties[older] = {"type": "string", "deprecated": True, "description": f"an older name of `{name}`"}
    if issubclass(body, SamplingFields):
        for name in sorted(OPTION_NAMES.keys() - properties.keys()):
            properties[name] = _option(OPTIONS[ALL_NAMES.get(name, OPTION_NAMES[name])])


def _cleaned(value: object) -> object:
    """Without the references to a schema that allows anything, and without defaults that mean "absent"."""
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_any = value.get("$ref") == ANY_VALUE
    is_absent = "default" in value and value["default"] is None
    dropped = {"$ref"} if is_any else set[str]()
    dropped |= {"default"} if is_absent else set()
    return {name: _cleaned(inner) for name, inner in value.items() if name not in dropped}


def _object(value: object) -> Schema:
    assert isinstance(value, dict)
    return value
