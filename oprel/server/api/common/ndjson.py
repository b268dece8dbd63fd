"""Answers as NDJSON, Ollama's form: one object a line, `done` in the last."""

import secrets
from collections.abc import Callable, Mapping

import orjson

from oprel.api_models import AnswerMetrics
from oprel.core.completion import Chunk, Chunks, joined
from oprel.core.exceptions import OprelError
from oprel.server.api.common.encode import json_bytes, metrics
from oprel.server.api.common.errors import ErrorEncoder
from oprel.server.api.common.streaming import Pieces, StreamEncoder, collected_reply, stream_reply
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.inference.completions import Done
from oprel.utils.text import timestamp

EncodeChunk = Callable[[Chunk], AnswerMetrics]  # with `timestamp()` as `created_at`
Remember = Callable[[str], Mapping[str, object]]


MARK = secrets.token_hex(8)  # stands for the text in a line: no name or text of a client contains it
CREATED = b'"created_at":"'


class TextLine:
    """The line of a piece of text, as `encode` makes it: in one answer, only the time and the text of it change."""

    def __init__(self, encode: EncodeChunk) -> None:
        before, _, self._end = (json_bytes(encode(Chunk(MARK))) + b"\n").partition(orjson.dumps(MARK))
        self._start, created, dated = before.partition(CREATED)
        self._start += created
        self._middle = dated[len(timestamp()) :]

    def of(self, text: str, now: bytes) -> bytes:
        """The line of this text. `now` is the time, as `timestamp` has it."""
        return b"".join((self._start, now, self._middle, orjson.dumps(text), self._end))


class NdjsonEncoder(StreamEncoder):
    """`encode` makes the object of a chunk.

    `remember` gets the text of a complete answer, and returns the fields that it adds to the last object.
    """

    media_type = NDJSON

    def __init__(self, encode: EncodeChunk, encode_error: ErrorEncoder, remember: Remember | None = None) -> None:
        self._encode = encode
        self._text_line: TextLine | None = None
        self._encode_error = encode_error
        self._remember = remember

    def chunks(self, chunks: Chunks) -> bytes:
        now = timestamp().encode()
        return b"".join([self._line(chunk, now) for chunk in chunks])

    def chunk(self, chunk: Chunk) -> bytes:
        return self.chunks([chunk])

    def _line(self, chunk: Chunk, now: bytes) -> bytes:
        if chunk.is_only_text:
            if self._text_line is None:
                self._text_line = TextLine(self._encode)
            return self._text_line.of(chunk.text, now)
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
