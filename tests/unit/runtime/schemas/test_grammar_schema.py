"""Schemas as engines turn them into grammars."""

import pytest
from pydantic import JsonValue

from oprel.runtime.schemas.grammar_schema import grammar_schema, grammar_tool


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"properties": {"a": True, "b": False}}, {"properties": {"a": {}}}),
        ({"properties": {"a": {"properties": {"b": True}}}}, {"properties": {"a": {"properties": {"b": {}}}}}),
        ({"items": True}, {"items": {}}),
        ({"type": "array", "items": False}, {"type": "array", "items": {}, "maxItems": 0}),
        ({"anyOf": [True, False, {"type": "null"}]}, {"anyOf": [{}, {"type": "null"}]}),
        ({"properties": {}, "additionalProperties": True}, {"properties": {}, "additionalProperties": True}),
        ({"properties": {}, "additionalProperties": False}, {"properties": {}, "additionalProperties": False}),
        ({"prefixItems": [{"type": "null"}], "items": False}, {"prefixItems": [{"type": "null"}]}),
        (
            {"prefixItems": [{"type": "null"}], "items": {"type": "string"}, "minItems": 3},
            {"prefixItems": [{"type": "null"}, {"type": "string"}, {"type": "string"}], "minItems": 3},
        ),
        ({"prefixItems": [True, {"type": "null"}], "maxItems": 1}, {"prefixItems": [{}], "maxItems": 1}),
        (
            {"type": "integer", "minimum": 0, "exclusiveMinimum": 2.5, "exclusiveMaximum": 9},
            {"type": "integer", "minimum": 3, "maximum": 8},
        ),
        ({"type": "string", "pattern": r"^\d$"}, {"type": "string", "pattern": "^[0-9]$"}),
        ({"type": "string", "pattern": ""}, {"type": "string"}),
        ({"enum": [True, False, None]}, {"enum": [True, False, None]}),
    ],
)
def test_what_engines_do_not_know_is_written_as_what_they_do(schema: dict[str, JsonValue], written: object) -> None:
    assert grammar_schema(schema) == written


def test_a_schema_may_refer_to_itself() -> None:
    schema: dict[str, JsonValue] = {
        "properties": {"next": {"$ref": "#"}, "id": {"$ref": "#/$defs/id"}},
        "$defs": {"id": {}},
    }
    assert grammar_schema(schema) == {
        "$ref": "#/$defs/root",
        "$defs": {
            "root": {
                "properties": {"next": {"$ref": "#/$defs/root"}, "id": {"$ref": "#/$defs/root/$defs/id"}},
                "$defs": {"id": {}},
            }
        },
    }


def test_a_model_reads_the_patterns_of_its_tools() -> None:
    parameters: dict[str, JsonValue] = {"properties": {"code": {"pattern": r"\d"}, "any": True}}
    tool: dict[str, JsonValue] = {"type": "function", "function": {"name": "t", "parameters": parameters}}
    written = {"properties": {"code": {"pattern": r"\d"}, "any": {}}}
    assert grammar_tool(tool) == {"type": "function", "function": {"name": "t", "parameters": written}}
