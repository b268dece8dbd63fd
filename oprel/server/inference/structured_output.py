"""Validates an answer against the schema of its `format`, in addition to the grammar that the engine enforces.

Schemas come from strangers: validation reads no file and no web page, and its time is bounded. Only the engine's
grammar enforces regular expressions, because those of Python may take exponential time.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import orjson
from pydantic import JsonValue
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from oprel.core.exceptions import BackendError, ValidationError

MOST_REFERENCES = 20_000  # followed in one validation: some tenths of a second
SKIPPED = ("pattern", "patternProperties", "unevaluatedProperties")  # they evaluate regular expressions


class _TooMuch(Exception):
    """The validation would take too long."""


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raises ValidationError if `schema` is not a valid JSON schema."""
    advice = "`format` takes a valid JSON schema."
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValidationError(f"invalid format: {error.message}", advice) from error
    except RecursionError as error:
        raise ValidationError("invalid format: it is nested too deeply", advice) from error


def check_answer(text: str, schema: Mapping[str, JsonValue]) -> None:
    """Raises BackendError if the complete answer `text` is not JSON that follows `schema` ({} = any object)."""
    advice = "Ask again, or ask for a simpler schema."
    try:
        _validator()(schema or {"type": "object"}, registry=EMPTY_REGISTRY).validate(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BackendError("the model's answer is not the JSON that `format` asks for", advice) from error
    except jsonschema.ValidationError as error:
        raise BackendError(f"the model's answer does not follow the schema: {error.message}", advice) from error
    except (Unresolvable, RecursionError, _TooMuch) as error:
        raise BackendError("the schema's references lead nowhere, or too far to prove the answer", advice) from error


def _validator() -> Any:  # jsonschema has no type for a class of validators
    """A class of validators for one validation, which counts the references that it follows."""
    base = jsonschema.Draft202012Validator
    followed = itertools.count()

    def counted(keyword: str) -> Any:
        def follow(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
            if next(followed) >= MOST_REFERENCES:
                raise _TooMuch
            yield from base.VALIDATORS[keyword](validator, value, instance, schema) or ()

        return follow

    def additional(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
        if "patternProperties" not in schema:
            yield from base.VALIDATORS["additionalProperties"](validator, value, instance, schema) or ()

    changed = dict.fromkeys(SKIPPED, lambda *_: ()) | {"additionalProperties": additional}
    return jsonschema.validators.extend(base, changed | {name: counted(name) for name in ("$ref", "$dynamicRef")})  # type: ignore[no-untyped-call]
