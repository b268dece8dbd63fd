"""What a change of the contract would change in an answer: fields, JSON types, fixed words, order of events.

Values are replaced by their type, ids, times and digests by their pattern. Pieces of a stream, or elements of a list,
that look the same as the one before are left out.
"""

import json
import re

import httpx

# Fields with words that belong to the contract.
WORDS = {"done_reason", "error", "event", "finish_reason", "format", "message", "object", "reason", "role"}
WORDS |= {"source", "status", "stop_reason", "system_fingerprint", "tool_choice", "truncation", "type"}
# Fields of which it matters whether they are empty.
TEXTS = {"arguments", "content", "response", "text", "thinking"}

PATTERNS = {
    r"sha256:[0-9a-f]{64}": "sha256:<hex>",
    r"\b[0-9a-f]{64}\b": "<64 hex>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z": "<time, UTC>",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d": "<time, offset>",
    r"\b(chatcmpl-|cmpl-|resp_|msg_|rs_|fc_|call_|toolu_|req_)\w+": r"\1<id>",
}

Shape = dict[str, "Shape"] | list["Shape"] | str | bool | None


def of_response(response: httpx.Response) -> Shape:
    kind = response.headers.get("content-type", "")
    body = response.text
    shape: dict[str, Shape] = {"status": str(response.status_code), "content-type": kind}
    if kind.startswith("application/x-ndjson"):
        return shape | {"lines": without_repeats([of(json.loads(line)) for line in body.splitlines()])}
    if "version=0.0.4" in kind:  # Prometheus'
        return shape | {"figures": [line for line in body.splitlines() if line.startswith("# TYPE")]}
    if kind.startswith("text/event-stream"):
        return shape | {"events": without_repeats([of_event(block) for block in body.split("\n\n") if block])}
    if kind.startswith("application/json") and "openapi" in response.json():  # its other parts follow from the types
        return shape | {"paths": {path: [*methods] for path, methods in response.json()["paths"].items()}}
    return shape | {"body": of(response.json()) if kind.startswith("application/json") else body}


def of_event(block: str) -> Shape:
    """A server-sent event: its fields, with the data as JSON where it is."""
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    data = fields["data"]
    return {**fields, "data": data if data == "[DONE]" else of(json.loads(data))}


def of(value: object, field: str = "") -> Shape:
    match value:
        case dict():
            return {key: of(inner, key) for key, inner in value.items()}
        case list():
            return without_repeats([of(inner, field) for inner in value])
        case None:
            return None
        case bool() if field == "done":
            return value
        case bool() | int() | float():
            return type(value).__name__
        case _:
            return of_text(str(value), field)


def of_text(text: str, field: str) -> str:
    masked = text
    for pattern, name in PATTERNS.items():
        masked = re.sub(pattern, name, masked)
    is_pattern = re.fullmatch(r"(\S+_|\S+-|sha256:)?<.*>", masked)
    return masked if field in WORDS or is_pattern or (field in TEXTS and text == "") else "str"


def without_repeats(shapes: list[Shape]) -> list[Shape]:
    return [shape for index, shape in enumerate(shapes) if index == 0 or shape != shapes[index - 1]]
