"""An answer told as parts that open, grow and close."""

import json

import pytest

from oprel.core.completion import Chunk, ToolCall
from oprel.server.api.common.content_blocks import Change, Closed, ContentBlocks, Grown, Opened, blocks_of

WHOLE = Chunk(tool_calls=(ToolCall("one", "weather", {"city": "Oslo"}), ToolCall("two", "time", {})))


def fragment(index: int, arguments: str, **begin: str) -> Chunk:
    """A part of a call, as the engine's event tells of it; the first one has `id` and `name`."""
    function = {"arguments": arguments, **{name: text for name, text in begin.items() if name == "name"}}
    call = {"index": index, "function": function, **{name: text for name, text in begin.items() if name == "id"}}
    return Chunk(event=json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}, separators=(",", ":")).encode())


def told(*chunks: Chunk) -> list[str]:
    """What the chunks and the end of their answer change, a word for each change."""
    parts = ContentBlocks()
    changes = [change for chunk in chunks for change in parts.add(chunk)]
    return [_word(change) for change in (*changes, *parts.finish())]


def _word(change: Change) -> str:
    at = f"{change.block.index}:{change.block.name or change.block.kind.value}"
    match change:
        case Opened():
            return f"open {at}"
        case Grown(delta=delta):
            return f"{change.block.index} {delta}"
        case Closed():
            return f"close {at}"


@pytest.mark.parametrize(
    ("chunks", "changes"),
    [
        ([], []),
        ([Chunk()], []),
        ([Chunk("a"), Chunk("b")], ["open 0:text", "0 a", "0 b", "close 0:text"]),
        (
            [Chunk(reasoning="hm"), Chunk("a")],
            ["open 0:reasoning", "0 hm", "close 0:reasoning", "open 1:text", "1 a", "close 1:text"],
        ),
        (
            [Chunk("a"), fragment(0, "", id="one", name="weather"), fragment(0, '{"city":'), fragment(0, '"Oslo"}')],
            ["open 0:text", "0 a", "close 0:text", "open 1:weather", '1 {"city":', '1 "Oslo"}', "close 1:weather"],
        ),
        ([fragment(0, "", id="one", name="time")], ["open 0:time", "0 {}", "close 0:time"]),
    ],
    ids=["nothing", "no news", "text", "thoughts and text", "a call", "a call without arguments"],
)
def test_parts_open_grow_and_close_one_after_the_other(chunks: list[Chunk], changes: list[str]) -> None:
    assert told(*chunks) == changes


def test_calls_that_an_engine_mixes_are_told_one_after_the_other() -> None:
    mixed = [
        fragment(0, "", id="one", name="weather"),
        fragment(0, '{"city":'),
        fragment(1, "{}", id="two", name="time"),
        fragment(0, '"Oslo"}'),
    ]
    first = ["open 0:weather", '0 {"city":', '0 "Oslo"}', "close 0:weather"]
    assert told(*mixed) == [*first, "open 1:time", "1 {}", "close 1:time"]


def test_a_call_that_was_told_as_it_grew_is_not_told_again() -> None:
    grown = [fragment(0, '{"city":"Oslo"}', id="one", name="weather"), fragment(1, "{}", id="two", name="time")]
    assert told(*grown, WHOLE) == told(*grown)


def test_an_engine_that_tells_of_no_fragments_has_its_calls_whole() -> None:
    first = ["open 0:weather", '0 {"city":"Oslo"}', "close 0:weather"]
    assert told(WHOLE) == [*first, "open 1:time", "1 {}", "close 1:time"]


def test_a_call_that_the_length_cuts_stays_cut() -> None:
    assert told(fragment(0, '{"ci', id="one", name="weather")) == ["open 0:weather", '0 {"ci', "close 0:weather"]


def test_text_that_speaks_of_tool_calls_is_no_call() -> None:
    event = json.dumps({"choices": [{"delta": {"content": '{"tool_calls": 1}'}}]}).encode()
    assert told(Chunk('{"tool_calls": 1}', event=event)) == ["open 0:text", '0 {"tool_calls": 1}', "close 0:text"]


def test_the_parts_of_a_whole_answer_have_all_that_was_said() -> None:
    parts = blocks_of(Chunk("hello", "hm", tool_calls=WHOLE.tool_calls))
    assert [(part.index, part.text) for part in parts] == [(0, "hm"), (1, "hello"), (2, '{"city":"Oslo"}'), (3, "{}")]
    assert [part.call_id for part in parts] == ["", "", "one", "two"]


def test_a_call_without_an_id_gets_one_of_its_own() -> None:
    first, second = blocks_of(Chunk(tool_calls=(ToolCall("", "time", {}), ToolCall("", "time", {}))))
    assert first.call_id and second.call_id and first.call_id != second.call_id
