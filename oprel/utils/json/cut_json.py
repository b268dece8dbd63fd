"""JSON that was cut off, as that of a tool call whose answer reached its length."""

import json
import re

import orjson
from pydantic import JsonValue

CLOSERS = {"{": "}", "[": "]"}
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]', re.DOTALL)
# What may be missing behind the last character, and what may be too much before it.
MISSING = ("", '"', "null", ": null", '": null')
HALF = r"\\u[dD][89abAB][0-9a-fA-F]{2}"  # of a character that JSON spells in two halves
PARTS_OF_VALUES = re.compile(rf"(?:,\s*|(?:{HALF})?\\(?:u[0-9a-fA-F]{{0,3}})?|{HALF}|[-+.eE]+|\b[a-z]+)$")


def closed_object(text: str) -> dict[str, JsonValue]:
    """The object that the text begins; where it is none, an object with the text as `arguments`.

    >>> closed_object('{"city": "Os'), closed_object('{"a": [1, {"b": tr'), closed_object("no JSON")
    ({'city': 'Os'}, {'a': [1, {'b': None}]}, {'arguments': 'no JSON'})
    """
    for beginning in (text, PARTS_OF_VALUES.sub("", text)):
        ends = _closers(beginning)
        for missing in MISSING:
            try:
                value = json.loads(beginning + missing + ends, strict=False)
                orjson.dumps(value)  # half a character could not be passed on
            except (ValueError, RecursionError, TypeError):
                continue
            if isinstance(value, dict):
                return value
    return {"arguments": text}


def _closers(text: str) -> str:
    """The brackets that close those that are open."""
    open_brackets: list[str] = []
    for token in TOKEN.findall(text):
        if token in CLOSERS:
            open_brackets.append(CLOSERS[token])
        elif token in CLOSERS.values() and open_brackets:
            open_brackets.pop()
    return "".join(reversed(open_brackets))
