"""From answers to OpenAI's responses and their events."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from oprel.core import completion
from oprel.core.completion import Chunk, CompletionRequest, Finish, joined
from oprel.core.exceptions import OprelError
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
from oprel.server.api.responses import types as wire
from oprel.server.api.responses.decode import functions, namespaces
from oprel.server.api.responses.errors import failure
from oprel.server.history.stored_responses import CallersResponses
from oprel.server.inference.completions import Done

PREFIXES = {BlockKind.REASONING: "rs", BlockKind.TEXT: "msg", BlockKind.CALL: "fc"}
# Of the events that carry a block's content: their name, the content's place in its item, and their other fields.
CONTENT_EVENTS = {
    BlockKind.REASONING: "reasoning_summary_text",
    BlockKind.TEXT: "output_text",
    BlockKind.CALL: "function_call_arguments",
}
PLACES: Mapping[BlockKind, Mapping[str, object]] = {
    BlockKind.REASONING: {"summary_index": 0},
    BlockKind.TEXT: {"content_index": 0},
    BlockKind.CALL: {},
}
EXTRAS: Mapping[BlockKind, Mapping[str, object]] = {BlockKind.TEXT: {"logprobs": []}}


class ResponseBuilder:
    """Builds the response object at each stage: begun, finished or failed. A finished one is stored unless `store`
    is false.
    """

    def __init__(self, body: wire.ResponsesRequest, request: CompletionRequest, stored: CallersResponses) -> None:
        self._stored = stored
        self._namespaces = namespaces(body.tools)
        self._hex = uuid.uuid4().hex[:24]
        self.begun = wire.Response(
            id=f"resp_{self._hex}",
            created_at=int(time.time()),
            model=body.model,
            instructions=body.instructions,
            tools=[tool.model_dump(exclude_none=True, exclude={"tools"}) for tool in functions(body.tools)],
            tool_choice=body.tool_choice if isinstance(body.tool_choice, str) else body.tool_choice.model_dump(),
            parallel_tool_calls=body.parallel_tool_calls is not False,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_output_tokens=body.max_output_tokens,
            reasoning=body.reasoning.model_dump(include={"effort", "summary"}),
            text=body.text.model_dump(by_alias=True, exclude_none=True),
            truncation="auto" if request.truncate else "disabled",
            metadata=body.metadata,
            store=body.store,
        )

    def finished(self, blocks: Sequence[ContentBlock], done: Done) -> wire.Response:
        cut = done.finish is Finish.LENGTH
        items = self._items(blocks, "incomplete" if cut else "completed")
        if self.begun.store:
            self._stored.put(self.begun.id, {item.id: item.model_dump_json().encode() for item in items})
        return self._with(
            output=items,
            status="incomplete" if cut else "completed",
            incomplete_details=wire.IncompleteDetails() if cut else None,
            completed_at=None if cut else int(time.time()),
            usage=_usage(done.usage),
        )

    def failed(self, blocks: Sequence[ContentBlock], error: OprelError) -> wire.Response:
        """`error` has the same form as in the response to a request that fails before its answer begins."""
        return self._with(output=self._items(blocks, "incomplete"), status="failed", error=failure(error))

    def id_of(self, block: ContentBlock) -> str:
        return f"{PREFIXES[block.kind]}_{self._hex}{block.index:02}"

    def item(self, block: ContentBlock, status: wire.Status) -> wire.OutputItem:
        match block.kind:
            case BlockKind.REASONING:
                summary = [wire.SummaryText(text=block.text)] if block.text else []
                thoughts = block.text or None
                return wire.ReasoningItem(
                    id=self.id_of(block), summary=summary, encrypted_content=thoughts, status=status
                )
            case BlockKind.TEXT:
                content = [wire.OutputText(text=block.text)] if block.text else []
                return wire.MessageItem(id=self.id_of(block), content=content, status=status)
            case BlockKind.CALL:
                return wire.CallItem(
                    id=self.id_of(block),
                    call_id=block.call_id,
                    name=block.name,
                    namespace=self._namespaces.get(block.name),
                    arguments=block.text,
                    status="incomplete" if status == "completed" and not block.is_json else status,
                )

    def _items(self, blocks: Sequence[ContentBlock], last: wire.Status) -> list[wire.OutputItem]:
        """`last` is the status of the last block; the others are completed."""
        return [self.item(block, last if block is blocks[-1] else "completed") for block in blocks]

    def _with(self, **changes: object) -> wire.Response:
        return self.begun.model_copy(update=changes)


def response(builder: ResponseBuilder, chunks: Sequence[Chunk], done: Done) -> bytes:
    """A complete answer as one object."""
    return dumps(_whole_response(builder.finished(blocks_of(joined(chunks)), done), done))


class ResponseStream(StreamEncoder):
    """An answer as numbered events."""

    media_type = SSE

    def __init__(self, builder: ResponseBuilder) -> None:
        self._builder = builder
        self._blocks = ContentBlocks()
        self._sent = 0

    def chunk(self, chunk: Chunk) -> bytes:
        return self._start() + self._encoded(self._blocks.add(chunk), "completed")

    def done(self, done: Done) -> bytes:
        status: wire.Status = "incomplete" if done.finish is Finish.LENGTH else "completed"
        rest = self._start() + self._encoded(self._blocks.finish(), status)
        finished = _whole_response(self._builder.finished(self._blocks.all, done), done)
        return rest + self._event(f"response.{status}", response=finished)

    def broken(self, error: OprelError) -> bytes:
        return self._event("response.failed", response=self._builder.failed(self._blocks.all, error))

    def _start(self) -> bytes:
        if self._sent:
            return b""
        begun = self._builder.begun
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def _encoded(self, changes: Iterable[Change], last: wire.Status) -> bytes:
        """`last` is the status of the last block, if these changes close it."""
        return b"".join(encoded for change in changes for encoded in self._change(change, last))

    def _change(self, change: Change, last: wire.Status) -> Iterator[bytes]:
        block = change.block
        at = {"item_id": self._builder.id_of(block), "output_index": block.index, **PLACES[block.kind]}
        name = f"response.{CONTENT_EVENTS[block.kind]}"
        match change:
            case Opened():
                yield self._item("added", replace(block, text=""), "in_progress")
                yield self._content("added", replace(block, text=""), at)
            case Grown(delta=delta):
                yield self._event(f"{name}.delta", **at, **EXTRAS.get(block.kind, {}), delta=delta)
            case Closed():
                yield self._event(f"{name}.done", **at, **EXTRAS.get(block.kind, {}), **_whole(block))
                yield self._content("done", block, at)
                yield self._item("done", block, last if block is self._blocks.all[-1] else "completed")

    def _item(self, action: str, block: ContentBlock, status: wire.Status) -> bytes:
        item = self._builder.item(block, status)
        return self._event(f"response.output_item.{action}", output_index=block.index, item=item)

    def _content(self, action: str, block: ContentBlock, at: Mapping[str, object]) -> bytes:
        match block.kind:
            case BlockKind.REASONING:
                thought = wire.SummaryText(text=block.text)
                return self._event(f"response.reasoning_summary_part.{action}", **at, part=thought)
            case BlockKind.TEXT:
                return self._event(f"response.content_part.{action}", **at, part=wire.OutputText(text=block.text))
            case BlockKind.CALL:
                return b""

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._sent = self._sent, self._sent + 1
        return event(kind, {"sequence_number": number, **fields})


def _whole_response(finished: wire.Response, done: Done) -> Mapping[str, object]:
    return {**finished.model_dump(mode="json"), **ending(done)}


def _whole(block: ContentBlock) -> Mapping[str, object]:
    return {"arguments": block.text, "name": block.name} if block.kind is BlockKind.CALL else {"text": block.text}


def _usage(counts: completion.Usage) -> wire.ResponsesUsage:
    return wire.ResponsesUsage(
        input_tokens=counts.prompt_tokens,
        input_tokens_details=wire.InputDetails(cached_tokens=counts.cached_tokens),
        output_tokens=counts.completion_tokens,
        total_tokens=counts.prompt_tokens + counts.completion_tokens,
    )
