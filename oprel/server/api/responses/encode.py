"""From answers to OpenAI's responses and their events."""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import orjson

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
    parts_of,
)
from oprel.server.api.common.sse import dumps, event
from oprel.server.api.common.streaming_response import SSE
from oprel.server.api.responses import types as wire
from oprel.server.api.responses.decode import functions, namespaces
from oprel.server.errors import openai_error
from oprel.server.inference.completions import Done

PREFIXES = {BlockKind.REASONING: "rs", BlockKind.TEXT: "msg", BlockKind.CALL: "fc"}
# The name of the events that tell what a part says, where in its item that is, and what these events have besides.
SAID = {
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
    """A response in the making: what was asked, and what is said by now."""

    def __init__(self, asked: wire.ResponsesRequest, request: CompletionRequest) -> None:
        self._namespaces = namespaces(asked.tools)
        self._hex = uuid.uuid4().hex[:24]
        self.begun = wire.Response(
            id=f"resp_{self._hex}",
            created_at=int(time.time()),
            model=asked.model,
            instructions=asked.instructions,
            tools=[tool.model_dump(exclude_none=True, exclude={"tools"}) for tool in functions(asked.tools)],
            tool_choice=asked.tool_choice if isinstance(asked.tool_choice, str) else asked.tool_choice.model_dump(),
            parallel_tool_calls=asked.parallel_tool_calls is not False,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            max_output_tokens=asked.max_output_tokens,
            reasoning=asked.reasoning.model_dump(),
            text=asked.text.model_dump(by_alias=True, exclude_none=True),
            truncation="auto" if request.truncate else "disabled",
            metadata=asked.metadata,
        )

    def finished(self, parts: Sequence[ContentBlock], done: Done) -> wire.Response:
        cut = done.finish is Finish.LENGTH
        return self._with(
            output=self._items(parts, "incomplete" if cut else "completed"),
            status="incomplete" if cut else "completed",
            incomplete_details=wire.IncompleteDetails() if cut else None,
            completed_at=None if cut else int(time.time()),
            usage=_usage(done.usage),
        )

    def failed(self, parts: Sequence[ContentBlock], error: OprelError) -> wire.Response:
        """`error` is told as in the body of an answer that never began."""
        told = orjson.loads(openai_error(error))["error"]
        return self._with(output=self._items(parts, "incomplete"), status="failed", error=told)

    def id_of(self, part: ContentBlock) -> str:
        return f"{PREFIXES[part.kind]}_{self._hex}{part.index:02}"

    def item(self, part: ContentBlock, status: wire.Status) -> wire.OutputItem:
        match part.kind:
            case BlockKind.REASONING:
                summary = [wire.SummaryText(text=part.text)] if part.text else []
                thoughts = part.text or None
                return wire.ReasoningItem(
                    id=self.id_of(part), summary=summary, encrypted_content=thoughts, status=status
                )
            case BlockKind.TEXT:
                content = [wire.OutputText(text=part.text)] if part.text else []
                return wire.MessageItem(id=self.id_of(part), content=content, status=status)
            case BlockKind.CALL:
                return wire.CallItem(
                    id=self.id_of(part),
                    call_id=part.call_id,
                    name=part.name,
                    namespace=self._namespaces.get(part.name),
                    arguments=part.text,
                    status=status,
                )

    def _items(self, parts: Sequence[ContentBlock], last: wire.Status) -> list[wire.OutputItem]:
        """All parts are completed but, maybe, the last one."""
        return [self.item(part, last if part is parts[-1] else "completed") for part in parts]

    def _with(self, **changes: object) -> wire.Response:
        return self.begun.model_copy(update=changes)


def response(answer: ResponseBuilder, chunks: Sequence[Chunk], done: Done) -> bytes:
    """A whole answer."""
    return dumps(answer.finished(parts_of(joined(chunks)), done))


class ResponseStream:
    """An answer's events, numbered."""

    media_type = SSE

    def __init__(self, answer: ResponseBuilder) -> None:
        self._answer = answer
        self._parts = ContentBlocks()
        self._sent = 0

    def chunk(self, chunk: Chunk) -> bytes:
        return self._start() + self._told(self._parts.hear(chunk), "completed")

    def done(self, done: Done) -> bytes:
        status: wire.Status = "incomplete" if done.finish is Finish.LENGTH else "completed"
        rest = self._start() + self._told(self._parts.end(), status)
        return rest + self._event(f"response.{status}", response=self._answer.finished(self._parts.all, done))

    def broken(self, error: OprelError) -> bytes:
        return self._event("response.failed", response=self._answer.failed(self._parts.all, error))

    def _start(self) -> bytes:
        if self._sent:
            return b""
        begun = self._answer.begun
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def _told(self, changes: Iterable[Change], last: wire.Status) -> bytes:
        """`last` is the status of a last part that is closed by it."""
        return b"".join(encoded for change in changes for encoded in self._change(change, last))

    def _change(self, change: Change, last: wire.Status) -> Iterator[bytes]:
        part = change.part
        at = {"item_id": self._answer.id_of(part), "output_index": part.index, **PLACES[part.kind]}
        said = f"response.{SAID[part.kind]}"
        match change:
            case Opened():
                yield self._item("added", replace(part, text=""), "in_progress")
                yield self._content("added", replace(part, text=""), at)
            case Grown(delta=delta):
                yield self._event(f"{said}.delta", **at, **EXTRAS.get(part.kind, {}), delta=delta)
            case Closed():
                yield self._event(f"{said}.done", **at, **EXTRAS.get(part.kind, {}), **_whole(part))
                yield self._content("done", part, at)
                yield self._item("done", part, last if part is self._parts.all[-1] else "completed")

    def _item(self, what: str, part: ContentBlock, status: wire.Status) -> bytes:
        item = self._answer.item(part, status)
        return self._event(f"response.output_item.{what}", output_index=part.index, item=item)

    def _content(self, what: str, part: ContentBlock, at: Mapping[str, object]) -> bytes:
        match part.kind:
            case BlockKind.REASONING:
                thought = wire.SummaryText(text=part.text)
                return self._event(f"response.reasoning_summary_part.{what}", **at, part=thought)
            case BlockKind.TEXT:
                return self._event(f"response.content_part.{what}", **at, part=wire.OutputText(text=part.text))
            case BlockKind.CALL:
                return b""

    def _event(self, kind: str, **fields: object) -> bytes:
        number, self._sent = self._sent, self._sent + 1
        return event(kind, {"sequence_number": number, **fields})


def _whole(part: ContentBlock) -> Mapping[str, object]:
    return {"arguments": part.text, "name": part.name} if part.kind is BlockKind.CALL else {"text": part.text}


def _usage(counted: completion.Usage) -> wire.ResponsesUsage:
    return wire.ResponsesUsage(
        input_tokens=counted.prompt_tokens,
        input_tokens_details=wire.InputDetails(cached_tokens=counted.cached_tokens),
        output_tokens=counted.completion_tokens,
        total_tokens=counted.prompt_tokens + counted.completion_tokens,
    )
