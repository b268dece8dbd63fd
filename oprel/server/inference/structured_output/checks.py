"""Checks an answer against the schema of its `format`, in addition to the grammar that the engine enforces.

Schemas come from strangers: a check reads no file and no web page, and its time is bounded.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import orjson
from pydantic import JsonValue

from oprel.core.exceptions import BackendError, ValidationError
from oprel.utils.json.json_schema import alternatives, schemas_in

if TYPE_CHECKING:
    import jsonschema_rs


MOST_NODES = 5000  # schemas within one
MOST_ALTERNATIVES = 5000  # that are open at once, references followed: with a million an engine stands still
LONGEST_SCHEMA = 256 * 1024  # bytes
METASCHEMA = {"$ref": "https://json-schema.org/draft/2020-12/schema"}


@cache
def _metaschema() -> "jsonschema_rs.Draft202012Validator":
    import jsonschema_rs  # imported late: few requests have a schema

    return jsonschema_rs.Draft202012Validator(METASCHEMA)


def check_schema(schema: Mapping[str, JsonValue], name: str = "format") -> None:
    """Raises ValidationError if `schema`, which clients call `name`, is not a valid JSON schema, or cannot be kept."""
    import jsonschema_rs

    advice = f"`{name}` takes a valid JSON schema."
    try:
        _metaschema().validate(dict(schema))
        for part in schemas_in(dict(schema)):
            for pattern in _patterns(part):
                _check_pattern(pattern, name)
    except jsonschema_rs.ValidationError as error:
        raise ValidationError(f"invalid {name}: {error.message}", advice) from error
    except RecursionError as error:
        raise ValidationError(f"invalid {name}: it is nested too deeply", advice) from error


def check_size(schema: Mapping[str, JsonValue], name: str) -> None:
    """Raises ValidationError for a schema that would keep others waiting."""
    nodes = sum(1 for _ in islice(schemas_in(dict(schema)), MOST_NODES + 1))
    if nodes > MOST_NODES or len(orjson.dumps(schema)) > LONGEST_SCHEMA:
        raise ValidationError(
            f"invalid {name}: it is larger than {LONGEST_SCHEMA // 1024} KiB or {MOST_NODES:,} schemas",
            "Ask for less at once.",
        )
    try:
        is_endless = alternatives(schema) > MOST_ALTERNATIVES
    except RecursionError:
        is_endless = True
    if is_endless:
        message = f"invalid {name}: its references make more than {MOST_ALTERNATIVES:,} alternatives of it"
        raise ValidationError(message, "Use fewer references within `anyOf` and `oneOf`.")


def check_answer(text: str, schema: Mapping[str, JsonValue]) -> None:
    """Raises BackendError if the complete answer `text` is not JSON that follows `schema` ({} = any object)."""
    import jsonschema
    from referencing.exceptions import Unresolvable

    from oprel.server.inference.structured_output.validator import TooManyReferences, validate
    from oprel.utils.regex.matching import TooComplex

    advice = "Ask again, or ask for a simpler schema."
    try:
        validate(orjson.loads(text), schema or {"type": "object"})
    except orjson.JSONDecodeError as error:
        raise BackendError("the model's answer is not the JSON that `format` asks for", advice) from error
    except jsonschema.ValidationError as error:
        raise BackendError(f"the model's answer does not follow the schema: {error.message}", advice) from error
    except TooComplex as error:
        raise BackendError("a pattern of the schema is too complex to check the answer", advice) from error
    except (Unresolvable, RecursionError, TooManyReferences) as error:
        raise BackendError("the schema's references lead nowhere, or too far to prove the answer", advice) from error


def _patterns(schema: Mapping[str, JsonValue]) -> Iterator[str]:
    if isinstance(pattern := schema.get("pattern"), str):
        yield pattern
    if isinstance(members := schema.get("patternProperties"), dict):
        yield from members


def _check_pattern(pattern: str, name: str) -> None:
    from oprel.utils.regex.matching import Matcher
    from oprel.utils.regex.syntax import PatternError, parse

    try:
        Matcher(parse(pattern))
    except PatternError as error:
        raise ValidationError(
            f"invalid {name}: the pattern {pattern!r} cannot be kept: {error}",
            "Use a regular expression without look-behind, back-references and word boundaries.",
        ) from error
