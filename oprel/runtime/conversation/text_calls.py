"""Calls of tools in the text of an answer, where the tools were described in the text of the prompt."""

import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import orjson

from oprel.core.completion import Chunk, Chunks, Finish, ToolCall, new_call_id

BEGIN, END = "<tool_call>", "</tool_call>"
STOPPED = re.compile(rb'"finish_reason"\s*:\s*"stop"')


async def with_calls(answer: AsyncGenerator[Chunks, None]) -> AsyncGenerator[Chunks, None]:
    """The chunks of an answer, or of several, with calls in place of the text that spells them."""
    answers = TextAnswers()
    async with aclosing(answer):
        async for chunks in answer:
            if passed := [piece for chunk in chunks for piece in answers.add(chunk)]:
                yield passed


class TextAnswers:
    """All answers to one request."""

    def __init__(self) -> None:
        self._answers = defaultdict[int, TextAnswer](TextAnswer)

    def add(self, chunk: Chunk) -> Iterator[Chunk]:
        if chunk.finish is None:
            yield from self._answers[chunk.index].add(chunk)
            return
        for index, answer in sorted(self._answers.items()):
            yield from answer.finish(index, chunk.finishes[index] if index < len(chunk.finishes) else chunk.finish)
        yield chunk


@dataclass
class TextAnswer:
    """One answer. Chunks are held back from the first sign of a call on, until it is complete."""

    _held: list[Chunk] = field(default_factory=list)
    _calls: list[ToolCall] = field(default_factory=list)

    def add(self, chunk: Chunk) -> Iterator[Chunk]:
        if self._calls and STOPPED.search(chunk.event):
            chunk = replace(chunk, event=_event(chunk.index, {}, "tool_calls"))
        if not chunk.text and not self._held:
            yield chunk
            return
        if self._calls and not self._held and chunk.text.isspace():
            return  # between two calls
        self._held.append(chunk)
        while self._held:
            before, begin, rest = self._text.partition(BEGIN)
            body, end, behind = rest.partition(END)
            if not begin and not _may_begin(before):
                yield from self._release()
            if not end:
                return
            yield from self._call(before, body, behind)

    def finish(self, index: int, finish: Finish) -> Iterator[Chunk]:
        """What is still held, and the calls; the last one may lack its end."""
        before, begin, body = self._text.partition(BEGIN)
        if begin and finish is Finish.STOP and _parsed(body):
            yield from self._call(before, body, "")
        yield from self._release()
        if self._calls:
            yield Chunk(tool_calls=tuple(self._calls), index=index)

    @property
    def _text(self) -> str:
        return "".join(chunk.text for chunk in self._held)

    def _release(self) -> Iterator[Chunk]:
        held, self._held = self._held, []
        yield from held

    def _call(self, before: str, body: str, behind: str) -> Iterator[Chunk]:
        """The text before a call, and the call; what is behind it stays. The whole text if it is not a call."""
        index = self._held[-1].index
        call = _parsed(body)
        text = before.rstrip() if call else f"{before}{BEGIN}{body}{END}"
        self._held = [_text_chunk(behind.lstrip(), index)] if behind.strip() else []
        if text:
            yield _text_chunk(text, index)
        if call:
            self._calls.append(call)
            yield _call_chunk(call, len(self._calls) - 1, index)


def _may_begin(text: str) -> bool:
    """Whether the text ends with the beginning of a call's mark."""
    return any(text.endswith(BEGIN[:length]) for length in range(1, len(BEGIN)))


def _parsed(body: str) -> ToolCall | None:
    try:
        match orjson.loads(body):
            case {"name": str(name), "arguments": dict(arguments)} | {"name": str(name), "parameters": dict(arguments)}:
                return ToolCall(new_call_id(), name, arguments)
            case {"name": str(name), **rest} if not rest:
                return ToolCall(new_call_id(), name, {})
    except orjson.JSONDecodeError:
        pass
    return None


def _text_chunk(text: str, index: int) -> Chunk:
    return Chunk(text, index=index, event=_event(index, {"content": text}))


def _call_chunk(call: ToolCall, number: int, index: int) -> Chunk:
    arguments = orjson.dumps(call.arguments).decode()
    function = {"name": call.name, "arguments": arguments}
    delta = {"tool_calls": [{"index": number, "id": call.id, "type": "function", "function": function}]}
    return Chunk(event=_event(index, delta), called=call.name + arguments, index=index)


def _event(index: int, delta: Mapping[str, object], finish: str | None = None) -> bytes:
    return orjson.dumps({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})
