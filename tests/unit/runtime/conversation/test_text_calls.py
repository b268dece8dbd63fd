"""Calls in the text of answers, however the engine cuts the text."""

from collections.abc import Sequence

import orjson
import pytest

from oprel.core.completion import Chunk, Finish
from oprel.runtime.conversation.text_calls import with_calls
from tests.fixtures.arriving import arriving, each

CALL = '<tool_call>\n{"name": "clock", "arguments": {"city": "Rome"}}\n</tool_call>'


def answer(texts: Sequence[str], finish: Finish) -> list[Chunk]:
    said = [Chunk(text, event=orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})) for text in texts]
    end = Chunk(event=b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
    return [*said, end, Chunk(finish=finish, finishes=(finish,))]


async def read(*texts: str, finish: Finish = Finish.STOP) -> tuple[str, list[str], list[Chunk]]:
    """The text, the calls and the chunks of an answer."""
    chunks = await each(with_calls(arriving(answer(texts, finish), together=2)))
    calls = [f"{call.name}{orjson.dumps(call.arguments).decode()}" for chunk in chunks for call in chunk.tool_calls]
    return "".join(chunk.text for chunk in chunks), calls, chunks


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_calls_are_read_however_their_text_is_cut(size: int) -> None:
    whole = f"Let me see.\n{CALL}\n{CALL}"
    text, calls, chunks = await read(*(whole[at : at + size] for at in range(0, len(whole), size)))
    assert text.rstrip() == "Let me see."
    assert calls == ['clock{"city":"Rome"}'] * 2
    events = b"".join(chunk.event for chunk in chunks)
    assert b'"finish_reason":"tool_calls"' in events and b"tool_call>" not in events
    assert chunks[-1].finish is Finish.STOP


@pytest.mark.parametrize(
    "text",
    [
        "no call",
        "a < b and <tool",
        "<tool_call>not JSON</tool_call> and more",
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"name": "clock", "arguments": {"ci',
    ],
)
async def test_other_text_stays_as_it_is(text: str) -> None:
    read_text, calls, chunks = await read(*text)
    assert (read_text, calls) == (text, [])
    assert not any(b'"finish_reason":"tool_calls"' in chunk.event for chunk in chunks)


async def test_the_last_call_may_lack_its_end_unless_the_answer_was_cut() -> None:
    unfinished = CALL.removesuffix("</tool_call>")
    assert (await read(unfinished))[:2] == ("", ['clock{"city":"Rome"}'])
    assert (await read(unfinished, finish=Finish.LENGTH))[:2] == (unfinished, [])
