"""The JSON of a request's body, read within bounds of bytes, depth and items, and within the memory for all bodies."""

import asyncio
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson
from pydantic import JsonValue
from starlette.requests import Request

from oprel.core.exceptions import BusyError, RequestTooLargeError, ValidationError
from oprel.server.api.connections import request_limits as limits
from oprel.utils.unpacking import unpacked

# Keys in a request's ASGI scope: the limit, what the budget of all requests counts, and who may decode large bodies.
BODY_BYTES, BODY, DECODING = "oprel.body_bytes", "oprel.body", "oprel.decoding"


async def content_of(request: Request) -> bytes:
    """The body, unpacked. Raises ValidationError, BusyError; RequestTooLargeError, at once if it is stated."""
    most = request.scope.get(BODY_BYTES, limits.BODY_BYTES)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)
    body: Body | None = request.scope.get(BODY)
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise _too_large(most)
        if body:
            await body.grow(size)
    if body:
        body.arrived()
    encoding = request.headers.get("content-encoding", "")
    most = min(limits.UNPACKED_BYTES, max(limits.QUICK_BYTES, limits.UNPACKED_TIMES * size))
    try:
        content = unpacked(b"".join(pieces), encoding, most)
    except ValueError as error:
        raise ValidationError(str(error)) from error
    return content.strip()


def json_value(content: bytes) -> JsonValue:
    """The JSON value at the beginning of `content`. Raises ValidationError, RequestTooLargeError."""
    if not content:
        raise ValidationError("missing request body")
    if content.count(b",") > limits.ITEMS:  # also those in texts: a prompt with so many has some million tokens
        raise RequestTooLargeError(f"the request has more than {limits.ITEMS:,} items", "Send less at once.")
    try:
        value = _parsed(content)
    except (ValueError, RecursionError, TypeError) as error:
        raise ValidationError(f"the request body is not valid JSON: {error}") from error
    if content.count(b"[") + content.count(b"{") > limits.DEPTH:
        _check_depth(value)
    _check_counts(value)
    return value


def _parsed(content: bytes) -> JsonValue:
    """Python's reader takes what follows the value; a large body, full of escapes, would keep it busy for seconds."""
    if len(content) > limits.QUICK_BYTES:
        value: JsonValue = orjson.loads(content)
        return value
    value, _ = json.JSONDecoder().raw_decode(content.decode(errors="surrogateescape"))
    orjson.dumps(value)  # half a character or a number beyond 64 bits could not be passed on to an engine
    return value


def _check_depth(value: JsonValue) -> None:
    """Raises ValidationError for lists and objects that are nested too deeply for what walks through them."""
    level = [value]
    for _ in range(limits.DEPTH + 1):
        level = [inner for outer in level for inner in _within(outer) if isinstance(inner, dict | list)]
        if not level:
            return
    raise ValidationError(f"the request body is nested too deeply: more than {limits.DEPTH} levels")


def _within(value: JsonValue) -> Iterable[JsonValue]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _check_counts(value: JsonValue) -> None:
    """Raises RequestTooLargeError for more messages or tools than any conversation has."""
    fields = value if isinstance(value, dict) else {}
    for name, most in (("messages", limits.MESSAGES), ("input", limits.MESSAGES), ("tools", limits.TOOLS)):
        items = fields.get(name)
        if isinstance(items, list) and len(items) > most and isinstance(items[0], dict):
            raise RequestTooLargeError(f"`{name}` has {len(items):,} items, and at most {most:,} are allowed")


def _too_large(most: int) -> RequestTooLargeError:
    return RequestTooLargeError(
        f"the request body is larger than {most // 2**20} MiB", "Send less at once, or set a larger `max_body_mb`."
    )


class BodyBudget:
    """The memory that large bodies of all requests may take, from their arrival to the end of their answers.

    One that arrives waits while there are too many. The one that came first may always go on: otherwise all could wait
    for each other.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._arriving: list[Body] = []  # in the order of their first bytes
        self._changed = asyncio.Event()

    @contextmanager
    def body(self) -> Iterator["Body"]:
        """A request's body, for the time of the block."""
        body = Body(self)
        try:
            yield body
        finally:
            self.arrived(body)
            self._hold(-body.held)

    async def hold(self, body: "Body", size: int) -> None:
        """Have `size` more bytes for the body. Raises BusyError after a wait."""
        if body not in self._arriving:
            self._arriving.append(body)
        try:
            async with asyncio.timeout(limits.BUDGET_SECONDS):
                while self._held + size > self._most and self._arriving[0] is not body:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise BusyError("other requests are too large to take this one", "Try again.") from None
        body.held += size
        self._hold(size)

    def arrived(self, body: "Body") -> None:
        """All of the body is there, or no more of it will come."""
        if body in self._arriving:
            self._arriving.remove(body)
            self._changed.set()

    def _hold(self, size: int) -> None:
        self._held += size
        if size < 0:
            self._changed.set()


@dataclass(eq=False)
class Body:
    """The bytes of one body that the budget counts. Small ones are not worth it."""

    budget: BodyBudget
    held: int = field(default=0, init=False)

    async def grow(self, size: int) -> None:
        """The body has `size` bytes by now. Waits for the budget. Raises BusyError."""
        if size > max(self.held, limits.SMALL_BYTES):
            await self.budget.hold(self, size - self.held)

    def arrived(self) -> None:
        """The body is complete."""
        self.budget.arrived(self)
