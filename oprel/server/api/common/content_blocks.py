"""An answer as the parts it is made of: thoughts, text and calls of tools, each opened, grown and closed.

For dialects whose answers are lists of such parts. Calls grow while the model makes them, as far as the engine's events
tell of that; else they come in whole.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import orjson

from oprel.core.completion import Chunk
from oprel.runtime.backends import openai_types as sent


class BlockKind(Enum):
    REASONING = "reasoning"
    TEXT = "text"
    CALL = "call"


@dataclass
class ContentBlock:
    """`text` is what was said of it so far; of a call, the JSON of its arguments."""

    index: int
    kind: BlockKind
    call_id: str = ""
    name: str = ""
    text: str = ""


@dataclass(frozen=True)
class Opened:
    part: ContentBlock


@dataclass(frozen=True)
class Grown:
    part: ContentBlock
    delta: str


@dataclass(frozen=True)
class Closed:
    part: ContentBlock


Change = Opened | Grown | Closed


def parts_of(said: Chunk) -> list[ContentBlock]:
    """The parts of a whole answer."""
    parts = ContentBlocks()
    for _ in (*parts.hear(said), *parts.end()):
        pass
    return parts.all


@dataclass
class _Call:
    """What was heard of a call, and the part in which it is told."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    part: ContentBlock | None = None
    closed: bool = False

    def hear(self, fragment: sent.EngineToolCall) -> None:
        self.id = self.id or fragment.id or f"call_{uuid.uuid4().hex[:24]}"
        self.name = self.name or fragment.function.name or ""
        self.arguments += fragment.function.arguments

    @property
    def is_whole(self) -> bool:
        try:
            orjson.loads(self.arguments)
        except orjson.JSONDecodeError:
            return False
        return True


@dataclass
class ContentBlocks:
    """Takes an answer's chunks and tells what they change. `all` are the parts there are by now."""

    all: list[ContentBlock] = field(default_factory=list)
    _said: ContentBlock | None = None  # the thoughts or the text that are open
    _calls: dict[int, _Call] = field(default_factory=dict)

    def hear(self, chunk: Chunk) -> Iterator[Change]:
        yield from self._say(BlockKind.REASONING, chunk.reasoning)
        yield from self._say(BlockKind.TEXT, chunk.text)
        for fragment in _fragments(chunk) or ([] if self._calls else _whole_calls(chunk)):
            self._calls.setdefault(fragment.index, _Call()).hear(fragment)
        yield from self._tell_calls()

    def end(self) -> Iterator[Change]:
        yield from self._fall_silent()
        for call in self._calls.values():
            if not call.closed:
                yield from self._tell(call)
                yield from self._close(call)

    def _say(self, kind: BlockKind, text: str) -> Iterator[Change]:
        if not text:
            return
        if self._said is None or self._said.kind is not kind:
            yield from self._fall_silent()
            self._said = ContentBlock(len(self.all), kind)
            yield self._opened(self._said)
        yield _grown(self._said, text)

    def _fall_silent(self) -> Iterator[Change]:
        if self._said is not None:
            yield Closed(self._said)
        self._said = None

    def _tell_calls(self) -> Iterator[Change]:
        """One call at a time, even where an engine mixes them: the next one when the one before is whole."""
        waiting = [call for call in self._calls.values() if not call.closed]
        for call in waiting:
            yield from self._tell(call)
            if call is waiting[-1] or not call.is_whole:
                return
            yield from self._close(call)

    def _tell(self, call: _Call) -> Iterator[Change]:
        """What is new of a call."""
        if call.part is None:
            yield from self._fall_silent()
            call.part = ContentBlock(len(self.all), BlockKind.CALL, call.id, call.name)
            yield self._opened(call.part)
        if delta := call.arguments[len(call.part.text) :]:
            yield _grown(call.part, delta)

    def _close(self, call: _Call) -> Iterator[Change]:
        assert call.part is not None
        if not call.part.text:  # a call without arguments
            yield _grown(call.part, "{}")
        yield Closed(call.part)
        call.closed = True

    def _opened(self, part: ContentBlock) -> Opened:
        self.all.append(part)
        return Opened(part)


def _grown(part: ContentBlock, delta: str) -> Grown:
    part.text += delta
    return Grown(part, delta)


def _fragments(chunk: Chunk) -> list[sent.EngineToolCall]:
    """The parts of calls in an engine's event."""
    if b'"tool_calls"' not in chunk.event:
        return []
    choices = sent.Event.model_validate_json(chunk.event).choices
    return [fragment for choice in choices for fragment in choice.delta.tool_calls or ()]


def _whole_calls(chunk: Chunk) -> list[sent.EngineToolCall]:
    """An answer's calls as one fragment each."""
    return [
        sent.EngineToolCall(
            index=index,
            id=call.id,
            function=sent.EngineFunction(name=call.name, arguments=orjson.dumps(call.arguments).decode()),
        )
        for index, call in enumerate(chunk.tool_calls)
    ]
