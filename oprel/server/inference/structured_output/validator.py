"""Validates a value against a schema of draft 2020-12, in bounded time, without reading a file or a web page."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from pydantic import JsonValue
from referencing.jsonschema import EMPTY_REGISTRY

from oprel.utils.regex.matching import Matcher
from oprel.utils.regex.syntax import parse

MOST_REFERENCES = 20_000  # followed in one validation: tenths of a second
SKIPPED = ("unevaluatedProperties",)  # it evaluates regular expressions, with Python's `re`

BASE = jsonschema.Draft202012Validator
Errors = Iterator[jsonschema.ValidationError]


class TooManyReferences(Exception):
    """The validation would take too long."""


def validate(value: JsonValue, schema: Mapping[str, JsonValue]) -> None:
    """Raises jsonschema.ValidationError, TooComplex, TooManyReferences, Unresolvable or RecursionError."""
    keywords = _Keywords()
    changed = {
        **dict.fromkeys(SKIPPED, lambda *_: ()),
        "$ref": keywords.reference("$ref"),
        "$dynamicRef": keywords.reference("$dynamicRef"),
        "pattern": keywords.pattern,
        "patternProperties": keywords.pattern_properties,
        "additionalProperties": keywords.additional_properties,
    }
    kind = jsonschema.validators.extend(BASE, changed)  # type: ignore[no-untyped-call]
    kind(schema, registry=EMPTY_REGISTRY).validate(value)


class _Keywords:
    """Keywords for one validation: it counts the references that it follows, and keeps what matching teaches."""

    def __init__(self) -> None:
        self._followed = itertools.count()
        self._matchers: dict[str, Matcher] = {}

    def reference(self, keyword: str) -> Any:
        def follow(validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
            if next(self._followed) >= MOST_REFERENCES:
                raise TooManyReferences
            yield from BASE.VALIDATORS[keyword](validator, value, instance, schema) or ()

        return follow

    def pattern(self, validator: Any, pattern: str, instance: Any, schema: Any) -> Errors:
        if isinstance(instance, str) and not self._matches(pattern, instance):
            yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")

    def pattern_properties(self, validator: Any, members: Any, instance: Any, schema: Any) -> Errors:
        for pattern, subschema in members.items() if isinstance(instance, dict) else ():
            for name, member in instance.items():
                if self._matches(pattern, name):
                    yield from validator.evolve(schema=subschema).iter_errors(member)

    def additional_properties(self, validator: Any, value: Any, instance: Any, schema: Any) -> Errors:
        if not isinstance(instance, dict):
            return
        patterns = schema.get("patternProperties", {})
        rest = {
            name: member
            for name, member in instance.items()
            if not any(self._matches(pattern, name) for pattern in patterns)
        }
        plain = {name: subschema for name, subschema in schema.items() if name != "patternProperties"}
        yield from BASE.VALIDATORS["additionalProperties"](validator, value, rest, plain) or ()

    def _matches(self, pattern: str, text: str) -> bool:
        if pattern not in self._matchers:
            self._matchers[pattern] = Matcher(parse(pattern))
        return self._matchers[pattern].matches(text)
