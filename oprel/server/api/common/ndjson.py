"""Answers as NDJSON, Ollama's form: one object a line, `done` in the last."""

from collections.abc import Callable, Mapping

from oprel.api_models import AnswerMetrics
from oprel.core.completion import Chunk, joined
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import json_bytes, metrics
from oprel.server.api.common.errors import ErrorEncoder
from oprel.server.api.common.streaming import Pieces, collected_reply, stream_reply
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.inference.completions import Done

EncodeChunk = Callable[[Chunk], AnswerMetrics]
Remember = Callable[[str], Mapping[str, object]]


class NdjsonEncoder:
    """`encode` makes the object of a chunk.

    `remember` gets the text of a complete answer, and returns the fields that it adds to the last object.
    """

    media_type = NDJSON

    def __init__(self, encode: EncodeChunk, encode_error: ErrorEncoder, remember: Remember | None = None) -> None:
        self._encode = encode
        self._encode_error = encode_error
        self._remember = remember

    def chunk(self, chunk: Chunk) -> bytes:
        return json_bytes(self._encode(chunk)) + b"\n" if chunk.says_something else b""

    def done(self, done: Done) -> bytes:
        return self._last(Chunk(), done) + b"\n"

    def broken(self, error: OprelError) -> bytes:
        return self._encode_error(error) + b"\n"

    def whole(self, chunks: list[Chunk], done: Done) -> bytes:
        """The answer as one object."""
        return self._last(joined(chunks), done)

    def _last(self, chunk: Chunk, done: Done) -> bytes:
        remembered = self._remember(done.text) if self._remember else {}
        return json_bytes(self._encode(chunk).model_copy(update={**metrics(done), **remembered, "done": True}))


def ndjson_reply(pieces: Pieces, encoder: NdjsonEncoder, *, stream: bool) -> StreamingReply:
    return stream_reply(pieces, encoder) if stream else collected_reply(pieces, encoder.whole)
