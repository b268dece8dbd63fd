"""NDJSON, the form of Ollama's answers: one object a line, the last with `done`."""

from collections.abc import Callable, Mapping

from oprel.api_models import AnswerMetrics
from oprel.core.completion import Chunk, joined
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import json_bytes, metrics
from oprel.server.api.common.streaming import streamed, whole
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.errors import encode_error
from oprel.server.inference import completions
from oprel.server.inference.completions import Done, Job
from oprel.server.pool.manager import ModelManager

Encode = Callable[[Chunk], AnswerMetrics]
Remember = Callable[[str], Mapping[str, object]]


def answer(
    manager: ModelManager,
    job: Job,
    stream: bool,
    encode: Encode,
    remember: Remember | None = None,
    path: str = "/api/",
) -> StreamingReply:
    """`encode` makes the object of a piece; errors have the form of the routes at `path`.

    `remember` gets the text of an answer that is whole, and returns what its last object shall say of that.
    """
    lines, pieces = _NdjsonEncoder(encode, remember, path), completions.run(manager, job)
    if stream:
        return streamed(pieces, lines)
    return whole(pieces, lambda chunks, done: lines.last(joined(chunks), done))


class _NdjsonEncoder:
    media_type = NDJSON

    def __init__(self, encode: Encode, remember: Remember | None, path: str) -> None:
        self._encode, self._remember, self._path = encode, remember, path

    def chunk(self, chunk: Chunk) -> bytes:
        return json_bytes(self._encode(chunk)) + b"\n" if chunk.says_something else b""

    def done(self, done: Done) -> bytes:
        return self.last(Chunk(), done) + b"\n"

    def broken(self, error: OprelError) -> bytes:
        return encode_error(error, self._path) + b"\n"

    def last(self, chunk: Chunk, done: Done) -> bytes:
        noted = self._remember(done.text) if self._remember else {}
        return json_bytes(self._encode(chunk).model_copy(update={**metrics(done), **noted, "done": True}))
