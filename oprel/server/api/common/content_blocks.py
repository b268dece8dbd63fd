"""An answer as content blocks: thoughts, text and tool calls, each of which opens, grows and closes.

For dialects whose answers are lists of blocks. If the engine's events contain fragments of tool calls, the calls grow
while the model makes them; otherwise they arrive complete.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import orjson

from oprel.core.completion import Chunk, new_call_id
from oprel.runtime.backends.openai import types as engine_wire
from oprel.runtime.backends.openai.answers import EVENT


class BlockKind(Enum):
    REASONING = "reasoning"
    TEXT = "text"
    CALL = "call"


@dataclass(kw_only=True)
class ContentBlock:
    """`text` is its content so far; for a call, the JSON of its arguments."""

    index: int
    kind: BlockKind
    call_id: str = ""
    name: str = ""
    text: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the arguments of a call are complete."""
        return _is_json(self.text)


@dataclass(frozen=True)
class Opened:
    block: ContentBlock


@dataclass(frozen=True)
class Grown:
    block: ContentBlock
    delta: str


@dataclass(frozen=True)
class Closed:
    block: ContentBlock


Change = Opened | Grown | Closed


def blocks_of(answer: Chunk) -> list[ContentBlock]:
    """The blocks of a complete answer."""
    blocks = ContentBlocks()
    for _ in (*blocks.add(answer), *blocks.finish()):
        pass
    return blocks.all


@dataclass(kw_only=True)
class _Call:
    """A call as received so far, and the block that shows it."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    block: ContentBlock | None = None
    closed: bool = False

    def add(self, fragment: engine_wire.EngineToolCall) -> None:
        self.id = self.id or fragment.id or new_call_id()
        self.name = self.name or fragment.function.name or ""
        self.arguments += fragment.function.arguments

    @property
    def is_complete(self) -> bool:
        return _is_json(self.arguments)


@dataclass
class ContentBlocks:
    """Takes an answer's chunks and yields the changes they make. `all` has the blocks so far."""

    all: list[ContentBlock] = field(default_factory=list)
    _open_text: ContentBlock | None = None  # the block of thoughts or text that is open
    _calls: dict[int, _Call] = field(default_factory=dict)

    def add(self, chunk: Chunk) -> Iterator[Change]:
        yield from self._add_text(BlockKind.REASONING, chunk.reasoning)
        yield from self._add_text(BlockKind.TEXT, chunk.text)
        for fragment in _fragments(chunk) or ([] if self._calls else _complete_calls(chunk)):
            self._calls.setdefault(fragment.index, _Call()).add(fragment)
        yield from self._update_calls()

    def finish(self) -> Iterator[Change]:
        yield from self._close_text()
        yield from self._close_calls()

    def _close_calls(self) -> Iterator[Change]:
        """Before the end, and before text: that follows a call which was refused."""
        for call in self._calls.values():
            if not call.closed:
                yield from self._update_call(call)
                yield from self._close_call(call)

    def _add_text(self, kind: BlockKind, text: str) -> Iterator[Change]:
        if not text:
            return
        if self._open_text is None or self._open_text.kind is not kind:
            yield from self._close_text()
            yield from self._close_calls()
            self._open_text = ContentBlock(index=len(self.all), kind=kind)
            yield self._opened(self._open_text)
        yield _grown(self._open_text, text)

    def _close_text(self) -> Iterator[Change]:
        if self._open_text is not None:
            yield Closed(self._open_text)
        self._open_text = None

    def _update_calls(self) -> Iterator[Change]:
        """One call at a time, even if the engine interleaves them: the next one starts when this one is complete."""
        unfinished = [call for call in self._calls.values() if not call.closed]
        for call in unfinished:
            yield from self._update_call(call)
            if call is unfinished[-1] or not call.is_complete:
                return
            yield from self._close_call(call)

    def _update_call(self, call: _Call) -> Iterator[Change]:
        """The part of a call that its block does not show yet."""
        if call.block is None:
            yield from self._close_text()
            call.block = ContentBlock(index=len(self.all), kind=BlockKind.CALL, call_id=call.id, name=call.name)
            yield self._opened(call.block)
        if delta := call.arguments[len(call.block.text) :]:
            yield _grown(call.block, delta)

    def _close_call(self, call: _Call) -> Iterator[Change]:
        assert call.block is not None
        if not call.block.text:  # a call without arguments
            yield _grown(call.block, "{}")
        yield Closed(call.block)
        call.closed = True

    def _opened(self, block: ContentBlock) -> Opened:
        self.all.append(block)
        return Opened(block)


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _grown(block: ContentBlock, delta: str) -> Grown:
    block.text += delta
    return Grown(block, delta)


def _fragments(chunk: Chunk) -> list[engine_wire.EngineToolCall]:
    """The fragments of tool calls in an engine's event."""
    if b'"tool_calls"' not in chunk.event:
        return []
    choices = EVENT.decode(chunk.event).choices
    return [fragment for choice in choices for fragment in choice.delta.tool_calls or ()]


def _complete_calls(chunk: Chunk) -> list[engine_wire.EngineToolCall]:
    """The tool calls of an answer, one fragment each."""
    return [
        engine_wire.EngineToolCall(
            index=index,
            id=call.id,
            function=engine_wire.EngineFunction(name=call.name, arguments=orjson.dumps(call.arguments).decode()),
        )
        for index, call in enumerate(chunk.tool_calls)
    ]
