"""A job's answer on the wire: as NDJSON while it is made, or as one object of all its pieces."""

from collections.abc import AsyncGenerator, Awaitable, Callable

from oprel.api_models import GenerateResponse, Metrics, Wire
from oprel.runtime.backends.base import Chunk, joined
from oprel.server import completions
from oprel.server.completions import Done, Job
from oprel.server.manager import ModelManager
from oprel.server.reply import JSON, NDJSON, Reply
from oprel.server.routes.encode import json_bytes, metrics

Encoder = Callable[[Chunk], Metrics]
Remember = Callable[[str], None]


def answer(manager: ModelManager, job: Job, stream: bool, encode: Encoder, remember: Remember | None = None) -> Reply:
    """`encode` makes the dialect's object of a piece; `remember` gets the text of an answer that is whole."""
    if stream:
        return Reply(_lines(manager, job, encode, remember), NDJSON)
    return Reply(_whole(manager, job, encode, remember), JSON)


def once(make: Callable[[], Awaitable[Wire]]) -> Reply:
    """What `make` makes, as one object; given up when the client leaves."""

    async def parts() -> AsyncGenerator[bytes, None]:
        yield json_bytes(await make())

    return Reply(parts(), JSON)


async def _lines(
    manager: ModelManager, job: Job, encode: Encoder, remember: Remember | None
) -> AsyncGenerator[bytes, None]:
    said: list[str] = []
    async for piece in completions.run(manager, job):
        if isinstance(piece, Chunk):
            said.append(piece.text)
            yield json_bytes(encode(piece)) + b"\n"
        else:
            _tell(remember, said)
            yield json_bytes(_last(encode(Chunk()), piece)) + b"\n"


async def _whole(
    manager: ModelManager, job: Job, encode: Encoder, remember: Remember | None
) -> AsyncGenerator[bytes, None]:
    parts: list[Chunk] = []
    async for piece in completions.run(manager, job):
        if isinstance(piece, Chunk):
            parts.append(piece)
        else:
            whole = joined(parts)
            _tell(remember, [whole.text])
            yield json_bytes(_last(encode(whole), piece))


def _tell(remember: Remember | None, said: list[str]) -> None:
    if remember:
        remember("".join(said))


def _last(reply: Metrics, done: Done) -> Wire:
    context = {"context": done.context} if isinstance(reply, GenerateResponse) else {}
    return reply.model_copy(update={**metrics(done), **context, "done": True})
