"""A job's answer on the wire: as a stream while it is made, or as one object."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from oprel.core.completion import Chunk, Chunks
from oprel.core.exceptions import OprelError
from oprel.server.api.common import ignored
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_bytes
from oprel.server.api.common.streaming_response import JSON, NDJSON, StreamingReply
from oprel.server.inference.completions import Done, Piece
from oprel.server.inference.embeddings import EmbedJob
from oprel.server.inference.truncation import Truncation

TRUNCATED = "X-Oprel-Truncated"  # the header that reports a truncated prompt, in every dialect
UNPARSED = "X-Oprel-Unparsed"  # that of a whole answer which is sent as the model wrote it; streams have a field
MISSING_PROMPT = "X-Oprel-Missing-Prompt"  # the header that names a model's prompts where a text has none
MOST_PROMPTS, LONGEST_PROMPT = 8, 200  # in that header

Pieces = AsyncGenerator[Piece, None]  # of completions.run


class StreamEncoder(Protocol):
    """Encodes one answer as a dialect's stream. An empty result sends nothing."""

    media_type: str

    def chunks(self, chunks: Chunks) -> bytes:
        """Pieces of the answer that came together."""
        return b"".join([self.chunk(chunk) for chunk in chunks])

    def chunk(self, chunk: Chunk) -> bytes:
        """A piece of the answer; before the first one, whatever the dialect's stream begins with."""

    def done(self, done: Done) -> bytes:
        """The end, with the dialect's terminator."""

    def broken(self, error: OprelError) -> bytes:
        """The end of an answer that breaks off after its first bytes: never the terminator."""


def stream_reply(pieces: Pieces, encoder: StreamEncoder) -> StreamingReply:
    """The answer as a stream. An error before its first byte gets its own status."""
    reply: StreamingReply

    async def content() -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Truncation):
                    _set_truncated(reply.headers, piece)
                elif isinstance(piece, Done):
                    yield encoder.done(piece)
                elif encoded := encoder.chunks(piece):
                    yield encoded

    reply = StreamingReply(content(), encoder.media_type, encoder.broken)
    return reply


def collected_reply(pieces: Pieces, encode: Callable[[list[Chunk], Done], bytes]) -> StreamingReply:
    """The answer as one object. `encode` gets its chunks in order; those of several answers are mixed (see `index`)."""
    reply: StreamingReply

    async def content() -> AsyncGenerator[bytes, None]:
        chunks: list[Chunk] = []
        async with aclosing(pieces):
            async for piece in pieces:
                if isinstance(piece, Truncation):
                    _set_truncated(reply.headers, piece)
                elif isinstance(piece, Done):
                    if piece.unparsed:
                        reply.headers[UNPARSED] = "true"
                    yield encode(chunks, piece)
                else:
                    chunks += piece

    reply = StreamingReply(content(), JSON)
    return reply


def object_reply(make: Callable[[], Awaitable[BaseModel]]) -> StreamingReply:
    """The object that `make` returns; `make` is cancelled when the client disconnects."""

    async def content() -> AsyncGenerator[bytes, None]:
        yield json_bytes(await make())

    return StreamingReply(content(), JSON)


def embedding_reply(request: Request, job: EmbedJob, reply: StreamingReply) -> StreamingReply:
    """`reply` with a header that names the model's prompts where a text has none; the log names them once."""
    prompts = job.prompts
    if job.input_type and not prompts:
        ignored.ignore(request, ["input_type"])
    if job.lacks_prompts:
        some = list(prompts.texts.items())[:MOST_PROMPTS]
        named = json.dumps({name: text[:LONGEST_PROMPT] for name, text in some})
        reply.headers[MISSING_PROMPT] = named
        remark = f"{job.model.name}: texts without a prompt, but it was trained with {named}"
        state_of(request).ignored.remark(remark)
    return reply


def progress_reply(steps: AsyncGenerator[BaseModel, None], *, stream: bool) -> StreamingReply:
    """Each step as a line of NDJSON, or the last step alone."""

    async def lines() -> AsyncGenerator[bytes, None]:
        async with aclosing(steps):
            async for step in steps:
                yield json_bytes(step) + b"\n"

    async def last() -> BaseModel:
        async with aclosing(steps):
            return [step async for step in steps][-1]

    return StreamingReply(lines(), NDJSON) if stream else object_reply(last)


def _set_truncated(headers: MutableHeaders, truncation: Truncation) -> None:
    headers[TRUNCATED] = f"messages={truncation.messages}; tokens={truncation.tokens}"
