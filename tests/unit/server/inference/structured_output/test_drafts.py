"""Older drafts of JSON Schema, as draft 2020-12."""

import pytest
from pydantic import JsonValue

from oprel.core.exceptions import BackendError, ValidationError
from oprel.server.inference.structured_output.checks import check_answer, check_schema
from oprel.server.inference.structured_output.drafts import modern

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"$schema": DRAFT_4, "type": "integer", "minimum": 3, "exclusiveMinimum": True}, "4", "3"),
        ({"$schema": DRAFT_4, "type": "integer", "maximum": 3, "exclusiveMaximum": False}, "3", "4"),
        ({"$schema": DRAFT_7, "items": [{"type": "string"}], "additionalItems": False}, '["a"]', '["a", 1]'),
        ({"items": [{"type": "string"}], "additionalItems": {"type": "null"}}, '["a", null]', '["a", 1]'),
        ({"$schema": DRAFT_7, "$ref": "#/definitions/n", "definitions": {"n": NULL}}, "null", "1"),
        (
            {"$schema": DRAFT_7, "$ref": "#/definitions/n", "enum": [1], "definitions": {"n": NULL}},
            "null",
            "1",
        ),
        ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, '{"a": 1, "b": 1}', '{"c": 1}'),
        ({"properties": {"a": {"type": "any", "required": True}}}, '{"a": 1}', "{}"),
        ({"properties": {"n": {"$recursiveRef": "#"}, "i": {"type": "null"}}}, '{"n": {"i": null}}', '{"n": {"i": 1}}'),
        ({"$schema": "https://example.com/unknown", "type": "null"}, "null", "1"),
        (
            {"type": "object", "required": None, "properties": {"a": {"type": "null", "enum": None}}},
            '{"a": null}',
            '{"a": 1}',
        ),
        ({"const": None}, "null", "1"),
        ({"properties": {"a": None, "b": False}}, '{"a": 1}', '{"b": 1}'),
    ],
)
def test_a_schema_means_what_its_draft_says(schema: dict[str, JsonValue], right: str, wrong: str) -> None:
    current = modern(schema)
    check_schema(current)
    check_answer(right, current)
    with pytest.raises(BackendError):
        check_answer(wrong, current)


@pytest.mark.parametrize("pattern", [r"\bword\b", "(", r"(a)\1"])
@pytest.mark.parametrize("place", ["pattern", "items", "patternProperties"])
def test_a_pattern_that_cannot_be_kept_is_refused(pattern: str, place: str) -> None:
    places: dict[str, JsonValue]
    places = {"pattern": pattern, "items": {"pattern": pattern}, "patternProperties": {pattern: {}}}
    with pytest.raises(ValidationError, match="cannot be kept"):
        check_schema({place: places[place]})


@pytest.mark.parametrize("pattern", [r"^\p{L}+$", "^(?<year>[0-9]{4})$", r"^\u{61}$"])
def test_patterns_are_not_pythons(pattern: str) -> None:
    check_schema({"pattern": pattern})


def test_an_answer_is_checked_against_its_patterns() -> None:
    schema: dict[str, JsonValue] = {
        "properties": {"a": {"pattern": "[0-9]"}},
        "patternProperties": {"^x": {"type": "null"}},
    }
    check_answer('{"a": "b1", "x1": null}', schema)
    for wrong in ('{"a": "b"}', '{"x1": 1}'):
        with pytest.raises(BackendError, match="does not follow the schema"):
            check_answer(wrong, schema)
