"""A job's answer on the wire: as NDJSON while it is made, or as one object of all its pieces."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from oprel.api_models import Metrics, Wire
from oprel.runtime.backends.base import Chunk, joined
from oprel.server import completions
from oprel.server.completions import Done, Job
from oprel.server.manager import ModelManager
from oprel.server.reply import JSON, NDJSON, Reply
from oprel.server.routes.encode import json_bytes, metrics

Encoder = Callable[[Chunk], Metrics]
Remember = Callable[[str], Mapping[str, object]]


def answer(manager: ModelManager, job: Job, stream: bool, encode: Encoder, remember: Remember | None = None) -> Reply:
    """`encode` makes the dialect's object of a piece.

    `remember` gets the text of an answer that is whole, and returns what its last object shall say of that.
    """

    def last(whole: Chunk, done: Done) -> bytes:
        noted = remember(done.text) if remember else {}
        return json_bytes(encode(whole).model_copy(update={**metrics(done), **noted, "done": True}))

    pieces = completions.run(manager, job)
    return Reply(_lines(pieces, encode, last), NDJSON) if stream else Reply(_whole(pieces, last), JSON)


def once(make: Callable[[], Awaitable[Wire]]) -> Reply:
    """What `make` makes, as one object; given up when the client leaves."""

    async def parts() -> AsyncGenerator[bytes, None]:
        yield json_bytes(await make())

    return Reply(parts(), JSON)


Pieces = AsyncGenerator[Chunk | Done, None]
Last = Callable[[Chunk, Done], bytes]


async def _lines(pieces: Pieces, encode: Encoder, last: Last) -> AsyncGenerator[bytes, None]:
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Chunk):
                yield json_bytes(encode(piece)) + b"\n"
            else:
                yield last(Chunk(), piece) + b"\n"


async def _whole(pieces: Pieces, last: Last) -> AsyncGenerator[bytes, None]:
    parts: list[Chunk] = []
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Chunk):
                parts.append(piece)
            else:
                yield last(joined(parts), piece)
