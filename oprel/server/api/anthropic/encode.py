"""From answers to Anthropic's messages and server-sent events."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

import orjson

from oprel.core import completion
from oprel.core.completion import Chunk, Finish, joined
from oprel.core.exceptions import OprelError
from oprel.server.api.anthropic.errors import encode_error
from oprel.server.api.anthropic.types import AnthropicMessage, AnthropicUsage, StopReason, Text, Thinking, ToolUse
from oprel.server.api.common.content_blocks import (
    BlockKind,
    Change,
    Closed,
    ContentBlock,
    ContentBlocks,
    Grown,
    Opened,
    blocks_of,
)
from oprel.server.api.common.encode import ending
from oprel.server.api.common.sse import dumps, event
from oprel.server.api.common.streaming import StreamEncoder
from oprel.server.api.common.streaming_response import SSE
from oprel.server.inference.completions import Done

DELTAS = {  # the type of a block's delta, and the field with its text
    BlockKind.REASONING: ("thinking_delta", "thinking"),
    BlockKind.TEXT: ("text_delta", "text"),
    BlockKind.CALL: ("input_json_delta", "partial_json"),
}


def message(model: str, chunks: Sequence[Chunk], done: Done) -> bytes:
    """A complete answer as one object."""
    blocks = blocks_of(joined(chunks))
    content = [_block(block) for block in blocks]
    whole = _message(model, content, stop_reason(done, blocks), _usage(done.usage))
    return dumps({**whole.model_dump(mode="json"), **ending(done)})


class MessageStream(StreamEncoder):
    """An answer as events. Its usage and its stop reason come last: `message_start` has zeros."""

    media_type = SSE

    def __init__(self, model: str) -> None:
        self._model = model
        self._blocks = ContentBlocks()
        self._started = False

    def chunk(self, chunk: Chunk) -> bytes:
        return self._start() + _events(self._blocks.add(chunk))

    def done(self, done: Done) -> bytes:
        rest = self._start() + _events(self._blocks.finish())
        delta = {"stop_reason": stop_reason(done, self._blocks.all), "stop_sequence": None}
        end = {"delta": delta, "usage": _usage(done.usage), **ending(done)}
        return rest + event("message_delta", end) + event("message_stop", {})

    def broken(self, error: OprelError) -> bytes:
        return b"event: error\ndata: " + encode_error(error) + b"\n\n"

    def _start(self) -> bytes:
        if self._started:
            return b""
        self._started = True
        return event("message_start", {"message": _message(self._model, [], None, AnthropicUsage())}) + event(
            "ping", {}
        )


def stop_reason(done: Done, blocks: Sequence[ContentBlock]) -> StopReason:
    """Engines do not distinguish a stop sequence from the end: both are `end_turn`."""
    if done.finish is Finish.LENGTH:
        return "max_tokens"
    has_calls = not done.unparsed and any(block.kind is BlockKind.CALL for block in blocks)
    return "tool_use" if has_calls else "end_turn"


def _message(
    model: str, content: list[Text | Thinking | ToolUse], stop_reason: StopReason | None, usage: AnthropicUsage
) -> AnthropicMessage:
    answer = f"msg_{uuid.uuid4().hex[:24]}"
    return AnthropicMessage(id=answer, model=model, content=content, stop_reason=stop_reason, usage=usage)


def _events(changes: Iterable[Change]) -> bytes:
    return b"".join(_event(change) for change in changes)


def _event(change: Change) -> bytes:
    block, index = change.block, {"index": change.block.index}
    match change:
        case Opened():
            return event("content_block_start", {**index, "content_block": _block(replace(block, text=""))})
        case Grown(delta=delta):
            kind, field = DELTAS[block.kind]
            return event("content_block_delta", {**index, "delta": {"type": kind, field: delta}})
        case Closed():
            signature = {"type": "signature_delta", "signature": ""}
            signed = block.kind is BlockKind.REASONING
            before = event("content_block_delta", {**index, "delta": signature}) if signed else b""
            return before + event("content_block_stop", index)


def _block(block: ContentBlock) -> Text | Thinking | ToolUse:
    match block.kind:
        case BlockKind.REASONING:
            return Thinking(thinking=block.text)
        case BlockKind.TEXT:
            return Text(text=block.text)
        case BlockKind.CALL:
            return ToolUse(id=block.call_id, name=block.name, input=orjson.loads(block.text or "{}"))


def _usage(counts: completion.Usage) -> AnthropicUsage:
    """Anthropic counts the cached part of a prompt separately from the rest."""
    return AnthropicUsage(
        input_tokens=counts.prompt_tokens - counts.cached_tokens,
        cache_read_input_tokens=counts.cached_tokens,
        output_tokens=counts.completion_tokens,
    )
