"""What an answer's format promises is proven."""

import contextlib

import pytest
from pydantic import JsonValue

from oprel.core.exceptions import BackendError, ValidationError
from oprel.server.inference.structured_output.checks import check_answer, check_schema, check_size

NUMBER: dict[str, JsonValue] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(("text", "schema"), [("{}", {}), ('{"n": 1}', NUMBER), ("[1]", {"type": "array"})])
def test_an_answer_that_keeps_its_promise_passes(text: str, schema: dict[str, JsonValue]) -> None:
    check_answer(text, schema)


@pytest.mark.parametrize(
    ("text", "schema", "complaint"),
    [
        ("", {}, "not the JSON that `format` asks for"),
        ('{"n": 1', NUMBER, "not the JSON that `format` asks for"),
        ("[1]", {}, "does not follow the schema: .* is not of type 'object'"),
        ("{}", NUMBER, "does not follow the schema: 'n' is a required property"),
    ],
)
def test_one_that_breaks_it_is_an_error(text: str, schema: dict[str, JsonValue], complaint: str) -> None:
    with pytest.raises(BackendError, match=complaint):
        check_answer(text, schema)


def test_a_schema_must_be_one() -> None:
    with pytest.raises(ValidationError, match="^invalid format: "):
        check_schema({"type": "nonesuch"})


@pytest.mark.parametrize(("steps", "is_taken"), [(12, True), (13, False), (1500, False)])
def test_a_few_references_make_no_millions_of_alternatives(steps: int, is_taken: bool) -> None:
    both: list[JsonValue] = [{"$ref": f"#/$defs/{step + 1}"} for step in range(steps) for _ in range(2)]
    defs: dict[str, JsonValue] = {str(step): {"anyOf": both[2 * step : 2 * step + 2]} for step in range(steps)}
    schema: dict[str, JsonValue] = {"$ref": "#/$defs/0", "$defs": {**defs, str(steps): {"type": "string"}}}
    with contextlib.nullcontext() if is_taken else pytest.raises(ValidationError, match="alternatives"):
        check_size(schema, "format")


def test_a_schema_may_contain_itself() -> None:
    check_size({"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"$ref": "#"}]}, "format")
