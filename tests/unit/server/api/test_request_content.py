"""Bodies of requests that are too large, too deep or too many, and those that only look like it."""

import json
import zlib

import pytest
from starlette.requests import Request
from starlette.types import Message

from oprel.core.exceptions import OprelError, RequestTooLargeError, ValidationError
from oprel.server.api.request_content import BODY_BYTES, content_of, json_value


def request(*pieces: bytes, most: int = 1000, **headers: str) -> Request:
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, BODY_BYTES: most}, receive)


async def test_a_body_is_read_up_to_the_limit() -> None:
    assert await content_of(request(b" a", b"b" * 998)) == b"a" + b"b" * 998
    with pytest.raises(RequestTooLargeError, match="larger than"):
        await content_of(request(b"a", b"b" * 1000))


async def test_a_length_that_is_stated_is_refused_before_anything_is_read() -> None:
    async def receive() -> Message:
        raise AssertionError("nothing is to be read")

    asked = Request({"type": "http", "headers": [(b"content-length", b"2000")], BODY_BYTES: 1000}, receive)
    with pytest.raises(RequestTooLargeError):
        await content_of(asked)


async def test_a_packed_body_may_not_grow_without_bounds() -> None:
    content = b'{"prompt": "%s"}' % (b"a" * 900_000)
    assert await content_of(request(zlib.compress(content), most=10_000, content_encoding="deflate")) == content
    bomb = zlib.compress(b"a" * 30_000_000)
    with pytest.raises(ValidationError, match="larger than 1048576 bytes"):
        await content_of(request(bomb, most=100_000, content_encoding="deflate"))


def nested(levels: int) -> bytes:
    return b'{"format":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("content", "kind", "complaint"),
    [
        (nested(70), ValidationError, "nested too deeply"),
        (b"[" * 70 + b"]" * 70, ValidationError, "nested too deeply"),
        (nested(100_000), ValidationError, "not valid JSON"),
        (b'{"x": [' + b"0," * 200_001 + b"0]}", RequestTooLargeError, "more than 200,000 items"),
        (json.dumps({"messages": [{}] * 10_001}).encode(), RequestTooLargeError, "`messages` has 10,001 items"),
        (json.dumps({"input": [{}] * 10_001}).encode(), RequestTooLargeError, "`input`"),
        (json.dumps({"tools": [{}] * 513}).encode(), RequestTooLargeError, "`tools`"),
        (b'{"prompt": "' + b"a" * 2**21, ValidationError, "not valid JSON"),
        (b'{"prompt": "' + b"\\ud800" * 2**19 + b'"}', ValidationError, "not valid JSON"),
    ],
    ids=["objects", "lists", "very deep", "items", "messages", "input", "tools", "cut off", "half characters"],
)
def test_what_no_conversation_needs_is_refused(content: bytes, kind: type[OprelError], complaint: str) -> None:
    with pytest.raises(kind, match=complaint):
        json_value(content)


@pytest.mark.parametrize(
    "value",
    [
        {"tools": [{"parameters": {"properties": {"a": {}}}}] * 500},
        {"input": ["text"] * 20_000},
        {"prompt": "line\n" * 500_000},
        json.loads(nested(60)),
    ],
    ids=["tools", "texts", "long text", "levels"],
)
def test_what_clients_send_is_read(value: object) -> None:
    assert json_value(json.dumps(value).encode()) == value
