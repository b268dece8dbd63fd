"""Answers as Anthropic's messages and events."""

import json
from typing import Any

import pytest

from oprel.core.completion import Chunk, Finish, ToolCall, Usage
from oprel.core.exceptions import BackendCrashedError, OprelError, ShuttingDownError
from oprel.server.api.anthropic.encode import MessageStream, message
from oprel.server.inference.completions import Done

STOP = Done(
    text="hello",
    finish=Finish.STOP,
    usage=Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=3),
    load_ns=0,
    total_ns=0,
)
LENGTH = Done(
    text="hello",
    finish=Finish.LENGTH,
    usage=Usage(prompt_tokens=10, cached_tokens=4, completion_tokens=3),
    load_ns=0,
    total_ns=0,
)
CALL = Chunk(tool_calls=(ToolCall("one", "weather", {"city": "Oslo"}),))
COUNTED = {"input_tokens": 6, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 4, "output_tokens": 3}


def events(sent: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, each of which is named in it too."""
    found = []
    for block in sent.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def streamed(*chunks: Chunk, done: Done = STOP) -> list[dict[str, Any]]:
    stream = MessageStream("guide")
    return events(b"".join([*(stream.chunk(chunk) for chunk in chunks), stream.done(done)]))


def whole(*chunks: Chunk, done: Done = STOP) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(message("guide", chunks, done))
    return answer


def test_a_whole_message() -> None:
    answer = whole(Chunk(reasoning="h"), Chunk(reasoning="m"), Chunk("hel"), Chunk("lo"))
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "guide",
        "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": COUNTED,
    }


def test_a_whole_message_with_a_call() -> None:
    answer = whole(Chunk("Let me see."), CALL)
    assert answer["stop_reason"] == "tool_use"
    assert answer["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "one", "name": "weather", "input": {"city": "Oslo"}},
    ]


def test_an_answer_of_nothing_is_a_message_without_content() -> None:
    assert whole()["content"] == []


@pytest.mark.parametrize(
    ("chunks", "done", "reason"),
    [([], STOP, "end_turn"), ([], LENGTH, "max_tokens"), ([CALL], STOP, "tool_use"), ([CALL], LENGTH, "max_tokens")],
)
def test_why_a_message_ends(chunks: list[Chunk], done: Done, reason: str) -> None:
    assert whole(*chunks, done=done)["stop_reason"] == reason
    assert streamed(*chunks, done=done)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": None}


def test_a_stream_begins_with_a_message_of_nothing_and_ends_with_its_counts() -> None:
    begin, ping, *_, delta, stop = streamed(Chunk("hello"))
    assert begin["message"].pop("id").startswith("msg_")
    assert begin["message"] == {
        "type": "message",
        "role": "assistant",
        "model": "guide",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict.fromkeys(COUNTED, 0),
    }
    assert (ping, stop) == ({"type": "ping"}, {"type": "message_stop"})
    assert delta["usage"] == COUNTED


def test_blocks_come_one_after_the_other() -> None:
    sent = streamed(Chunk(), Chunk(reasoning="hm"), Chunk("hel"), Chunk("lo"), CALL)[2:-2]
    assert [(one["type"].removeprefix("content_block_"), one["index"]) for one in sent] == [
        *[("start", 0), ("delta", 0), ("delta", 0), ("stop", 0)],
        *[("start", 1), ("delta", 1), ("delta", 1), ("stop", 1)],
        *[("start", 2), ("delta", 2), ("stop", 2)],
    ]
    assert [one["content_block"] for one in sent if one["type"] == "content_block_start"] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "one", "name": "weather", "input": {}},
    ]
    assert [one["delta"] for one in sent if one["type"] == "content_block_delta"] == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": ""},
        {"type": "text_delta", "text": "hel"},
        {"type": "text_delta", "text": "lo"},
        {"type": "input_json_delta", "partial_json": '{"city":"Oslo"}'},
    ]


def test_a_stream_of_nothing_is_still_a_message() -> None:
    assert [one["type"] for one in streamed()] == ["message_start", "ping", "message_delta", "message_stop"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(BackendCrashedError("it died", "Ask again."), "api_error"), (ShuttingDownError("over"), "overloaded_error")],
)
def test_a_broken_stream_ends_in_an_error_and_nothing_else(error: OprelError, kind: str) -> None:
    stream = MessageStream("guide")
    stream.chunk(Chunk("hel"))
    (told,) = events(stream.broken(error))
    assert (told["type"], told["error"]["type"]) == ("error", kind)
    assert error.message in told["error"]["message"]
