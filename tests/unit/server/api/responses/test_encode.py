"""Answers as OpenAI's responses and their events."""

import json
from typing import Any

import pytest

from oprel.core.completion import Chunk, CompletionRequest, Finish, Sampling, ToolCall, Usage
from oprel.core.exceptions import BackendCrashedError
from oprel.server.api.responses.encode import ResponseBuilder, ResponseStream, response
from oprel.server.api.responses.types import ResponsesRequest
from oprel.server.history.stored_responses import StoredResponses
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
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
COUNTED = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 13,
}


def answer(**fields: object) -> ResponseBuilder:
    asked = ResponsesRequest.model_validate({"model": "guide", "input": "hello", **fields})
    request = CompletionRequest("", Sampling(temperature=0.5), truncate=False)
    return ResponseBuilder(asked, request, StoredResponses().of(""))


def whole(*chunks: Chunk, done: Done = STOP, **fields: object) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(response(answer(**fields), chunks, done))
    return made


def events(sent: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, each of which is named in it too."""
    found = []
    for block in sent.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def streamed(*chunks: Chunk, done: Done = STOP) -> list[dict[str, Any]]:
    stream = ResponseStream(answer())
    return events(b"".join([*(stream.chunk(chunk) for chunk in chunks), stream.done(done)]))


def names(sent: list[dict[str, Any]]) -> list[str]:
    return [one["type"].removeprefix("response.") for one in sent]


def test_a_whole_response_has_an_item_for_each_part() -> None:
    made = whole(Chunk(reasoning="hm"), Chunk("hel"), Chunk("lo"), CALL)
    ids = [item.pop("id") for item in made["output"]]
    assert [name.split("_")[0] for name in (made["id"], *ids)] == ["resp", "rs", "msg", "fc"]
    assert len(set(ids)) == 3
    reasoning, message, call = made["output"]
    assert reasoning == {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "hm",
        "status": "completed",
    }
    assert message == {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}],
    }
    assert call == {
        "type": "function_call",
        "call_id": "one",
        "name": "weather",
        "namespace": None,
        "arguments": '{"city":"Oslo"}',
        "status": "completed",
    }


def test_a_response_says_what_it_was_made_with() -> None:
    text = {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}}
    made = whole(
        tools=[TOOL, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        instructions="Be kind.",
        max_output_tokens=5,
        reasoning={"effort": "low", "summary": "auto"},
        text=text,
        store=True,
        metadata={"a": "b"},
    )
    assert (made["object"], made["status"], made["model"]) == ("response", "completed", "guide")
    assert made["created_at"] <= made["completed_at"]
    assert (made["error"], made["incomplete_details"], made["usage"]) == (None, None, COUNTED)
    assert made["tools"] == [TOOL]
    assert (made["tool_choice"], made["parallel_tool_calls"]) == ({"type": "function", "name": "weather"}, False)
    assert (made["instructions"], made["max_output_tokens"], made["temperature"]) == ("Be kind.", 5, 0.5)
    assert (made["reasoning"], made["text"]) == ({"effort": "low", "summary": "auto"}, text)
    assert (made["store"], made["background"], made["truncation"]) == (True, False, "disabled")
    assert (made["metadata"], made["previous_response_id"]) == ({"a": "b"}, None)


def test_a_call_tells_the_namespace_of_its_tool() -> None:
    space = {"type": "namespace", "name": "crm", "tools": [TOOL]}
    (call,) = whole(CALL, tools=[space])["output"]
    assert (call["name"], call["namespace"]) == ("weather", "crm")


def test_an_answer_that_its_limit_cut_is_incomplete() -> None:
    made = whole(Chunk(reasoning="hm"), Chunk("hel"), done=LENGTH)
    assert (made["status"], made["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in made["output"]] == ["completed", "incomplete"]
    assert made["completed_at"] is None


PART_EVENTS: dict[str, tuple[Chunk, list[str]]] = {
    "thoughts": (
        Chunk(reasoning="hm"),
        [
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
        ],
    ),
    "text": (
        Chunk("hello"),
        [
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
        ],
    ),
    "a call": (
        CALL,
        [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ],
    ),
    "nothing": (Chunk(), []),
}


@pytest.mark.parametrize(("chunk", "told"), PART_EVENTS.values(), ids=PART_EVENTS)
def test_the_events_of_a_part(chunk: Chunk, told: list[str]) -> None:
    assert names(streamed(chunk)) == ["created", "in_progress", *told, "completed"]


def test_events_are_numbered_and_name_their_item() -> None:
    sent = streamed(Chunk(reasoning="hm"), Chunk("hel"), Chunk("lo"), CALL)
    assert [one["sequence_number"] for one in sent] == list(range(len(sent)))
    items = [item["id"] for item in sent[-1]["response"]["output"]]
    for one in sent[2:-1]:
        assert items[one["output_index"]] == (one["item"]["id"] if "item" in one else one["item_id"])


def test_items_begin_empty_and_end_as_the_response_has_them() -> None:
    sent = streamed(Chunk(reasoning="hm"), Chunk("hello"), CALL)
    added = [one["item"] for one in sent if one["type"] == "response.output_item.added"]
    done = [one["item"] for one in sent if one["type"] == "response.output_item.done"]
    assert [added[0]["summary"], added[1]["content"], added[2]["arguments"]] == [[], [], ""]
    assert {item["status"] for item in added} == {"in_progress"}
    assert done == sent[-1]["response"]["output"]


def test_a_streamed_response_is_the_whole_one() -> None:
    chunks = (Chunk(reasoning="hm"), Chunk("hello"), CALL)
    for done in (STOP, LENGTH):
        last, one = streamed(*chunks, done=done)[-1]["response"], whole(*chunks, done=done)
        for made in (last, one):
            for name in ("id", "created_at", "completed_at"):
                made.pop(name)
            for item in made["output"]:
                item.pop("id")
        assert last == one


def test_a_stream_that_its_limit_cut_ends_incomplete() -> None:
    *_, item, last = streamed(Chunk("hel"), done=LENGTH)
    assert (item["item"]["status"], last["type"]) == ("incomplete", "response.incomplete")


def test_a_broken_stream_ends_in_a_failed_response_and_nothing_else() -> None:
    stream = ResponseStream(answer())
    before = events(stream.chunk(Chunk("hel")))
    (failed,) = events(stream.broken(BackendCrashedError("the engine died", "Ask again.")))
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", len(before))
    made = failed["response"]
    assert (made["id"], made["status"], made["usage"]) == (before[0]["response"]["id"], "failed", None)
    assert (made["error"]["code"], made["error"]["message"]) == ("backend_crashed", "the engine died. Ask again.")
    assert [item["status"] for item in made["output"]] == ["incomplete"]
