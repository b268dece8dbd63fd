"""Whether an answer is what its `format` promised. The engine enforces a grammar; here it is proven.

A schema is a stranger's: it gets no file and no page read, and no time without end. Regular expressions are left to the
engine's grammar, as Python's may take years.
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

MOST_REFERENCES = 20_000  # followed within one proof: some tenths of a second
UNPROVEN = ("pattern", "patternProperties", "unevaluatedProperties")  # they take regular expressions


class _TooMuch(Exception):
    """A proof would take too long."""


def check_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raises ValidationError for what is no JSON schema."""
    advice = "`format` takes a valid JSON schema."
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValidationError(f"invalid format: {error.message}", advice) from error
    except RecursionError as error:
        raise ValidationError("invalid format: it is nested too deeply", advice) from error


def check_answer(text: str, schema: Mapping[str, JsonValue]) -> None:
    """Raises BackendError when the whole answer `text` is not JSON that follows `schema` ({} = any object)."""
    advice = "Ask again, or ask for a simpler schema."
    try:
        _prover()(schema or {"type": "object"}, registry=EMPTY_REGISTRY).validate(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise BackendError("the model's answer is not the JSON that `format` asks for", advice) from error
    except jsonschema.ValidationError as error:
        raise BackendError(f"the model's answer does not follow the schema: {error.message}", advice) from error
    except (Unresolvable, RecursionError, _TooMuch) as error:
        raise BackendError("the schema's references lead nowhere, or too far to prove the answer", advice) from error


def _prover() -> Any:  # jsonschema has no type for a class of validators
    """A class of validators for one proof, which counts the references that it follows."""
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

    changed = dict.fromkeys(UNPROVEN, lambda *_: ()) | {"additionalProperties": additional}
    return jsonschema.validators.extend(base, changed | {name: counted(name) for name in ("$ref", "$dynamicRef")})  # type: ignore[no-untyped-call]
