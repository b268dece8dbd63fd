"""A job's answer on the wire: as a stream while it is made, or as one object of all its pieces."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from pydantic import BaseModel
from starlette.datastructures import MutableHeaders

from oprel.core.completion import Chunk
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import json_bytes
from oprel.server.api.common.streaming_response import JSON, StreamingReply
from oprel.server.inference.completions import Done, Piece
from oprel.server.inference.truncation import Truncation

TRUNCATED = "X-Oprel-Truncated"  # the header that tells of a cut prompt, in every dialect

Pieces = AsyncGenerator[Piece, None]  # of completions.run


class StreamEncoder(Protocol):
    """One answer in a dialect's stream. Returns of b"" send nothing."""

    media_type: str

    def chunk(self, chunk: Chunk) -> bytes:
        """A piece of the answer; the first one may bring what the dialect begins with."""

    def done(self, done: Done) -> bytes:
        """The end, with the dialect's terminator."""

    def broken(self, error: OprelError) -> bytes:
        """The end of an answer that broke off, after its first bytes: never the terminator."""


def streamed(pieces: Pieces, encoder: StreamEncoder) -> StreamingReply:
    """The answer as a stream. An error before its first byte gets its own status."""
    reply: StreamingReply

    async def parts() -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Truncation):
                    _tell(reply.headers, piece)
                elif encoded := encoder.done(piece) if isinstance(piece, Done) else encoder.chunk(piece):
                    yield encoded

    reply = StreamingReply(parts(), encoder.media_type, encoder.broken)
    return reply


def whole(pieces: Pieces, encode: Callable[[list[Chunk], Done], bytes]) -> StreamingReply:
    """The answer as one object; `encode` gets its pieces in order, those of several answers mixed (see `index`)."""
    reply: StreamingReply

    async def parts() -> AsyncGenerator[bytes, None]:
        chunks: list[Chunk] = []
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Truncation):
                    _tell(reply.headers, piece)
                elif isinstance(piece, Done):
                    yield encode(chunks, piece)
                else:
                    chunks.append(piece)

    reply = StreamingReply(parts(), JSON)
    return reply


def once(make: Callable[[], Awaitable[BaseModel]]) -> StreamingReply:
    """What `make` makes, as one object; given up when the client leaves."""

    async def parts() -> AsyncGenerator[bytes, None]:
        yield json_bytes(await make())

    return StreamingReply(parts(), JSON)


def _tell(headers: MutableHeaders, cut: Truncation) -> None:
    headers[TRUNCATED] = f"messages={cut.messages}; tokens={cut.tokens}"
