"""Answers as OpenAI's objects and events."""

import json
from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from oprel.core.completion import Chunk, Finish, Logprob, ToolCall, Usage
from oprel.core.exceptions import BackendCrashedError
from oprel.runtime.backends.openai.answers import Answers
from oprel.server.api.openai.encode import ChatStream, TextStream, chat_completion, text_completion
from oprel.server.inference.completions import Done

DONE = Done(
    text="hi",
    finish=Finish.STOP,
    usage=Usage(prompt_tokens=3, cached_tokens=1, completion_tokens=2),
    load_ns=0,
    total_ns=0,
    finishes=(Finish.STOP,),
)
CALL = ToolCall("c1", "f", {"x": 1})


def engines(delta: dict[str, object], finish: str | None = None, index: int = 0) -> Chunk:
    """A chunk as the engine sends it."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    event = {"id": "engine", "model": "/secret/path.gguf", "timings": {}, "choices": [choice]}
    return Chunk(text=str(delta.get("content") or ""), index=index, event=json.dumps(event).encode())


def sent(*parts: bytes) -> list[object]:
    """The events of a stream; its terminator as text."""
    blocks = b"".join(parts).split(b"\n\n")[:-1]
    return [json.loads(data) if (data := block.removeprefix(b"data: ")) != b"[DONE]" else "[DONE]" for block in blocks]


def test_the_engines_events_go_on_under_the_answers_name() -> None:
    stream = ChatStream("guide", include_usage=False)
    first, second = sent(
        stream.chunk(engines({"role": "assistant", "content": None})), stream.chunk(engines({"content": "hi"}))
    )
    assert isinstance(first, dict) and isinstance(second, dict)
    assert (first["id"], first["model"], first["object"]) == (second["id"], "guide", "chat.completion.chunk")
    assert "timings" not in first
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert second["choices"][0]["delta"] == {"content": "hi"}


@given(words=st.text(min_size=1), name=st.sampled_from(["content", "reasoning_content"]), index=st.integers(0, 9))
def test_a_text_or_a_thought_goes_on_as_every_other_event_does(words: str, name: str, index: int) -> None:
    """Only faster: the event is not taken apart."""
    choice: dict[str, object] = {
        "finish_reason": None,
        "index": index,
        "delta": {name: words},
        "logprobs": {"content": []},
    }
    (chunk,) = Answers().add(orjson.dumps({"choices": [choice]}))
    assert chunk.is_plain
    stream = ChatStream("guide", include_usage=False)
    assert stream.chunk(chunk) == stream.chunk(replace(chunk, is_plain=False))


def test_the_end_of_a_part_is_not_that_of_the_answer() -> None:
    """The answer went on with more cells, or with another engine: its own finish counts."""
    stream = ChatStream("guide", include_usage=False)
    stream.chunk(engines({}, "length"))
    finish, end = sent(stream.done(DONE))
    assert isinstance(finish, dict) and finish["choices"][0]["finish_reason"] == "stop"
    assert end == "[DONE]"


def test_the_end_is_held_back_until_the_answer_is_whole() -> None:
    stream = ChatStream("guide", include_usage=False)
    assert stream.chunk(engines({}, "stop")) == b""
    finish, end = sent(stream.done(DONE))
    assert isinstance(finish, dict)
    assert (finish["choices"][0]["finish_reason"], end) == ("stop", "[DONE]")


def test_a_broken_answer_ends_in_an_error_and_no_terminator() -> None:
    stream = ChatStream("guide", include_usage=True)
    stream.chunk(engines({}, "stop"))
    (error,) = sent(stream.broken(BackendCrashedError("the engine died", "Ask again.")))
    assert error == {
        "error": {
            "message": "the engine died. Ask again.",
            "type": "api_error",
            "param": None,
            "code": "backend_crashed",
        }
    }


def test_usage_comes_in_an_event_of_its_own_when_asked_for() -> None:
    *_, usage, end = sent(ChatStream("guide", include_usage=True).done(DONE))
    assert isinstance(usage, dict)
    assert (usage["choices"], end) == ([], "[DONE]")
    assert usage["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }


def test_thoughts_are_in_one_field_that_no_client_adds_to_another() -> None:
    (event,) = sent(ChatStream("guide", include_usage=False).chunk(engines({"reasoning_content": "hm"})))
    assert isinstance(event, dict)
    assert event["choices"][0]["delta"] == {"reasoning": "hm"}
    (choice,) = json.loads(chat_completion("guide", [Chunk("", "hm"), Chunk("hi")], DONE))["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hi", "reasoning": "hm"}


def test_parts_of_tool_calls_stream_and_the_whole_call_is_not_repeated() -> None:
    stream = ChatStream("guide", include_usage=False)
    part: dict[str, object] = {"tool_calls": [{"index": 0, "function": {"arguments": '{"x'}}]}
    (event,) = sent(stream.chunk(engines(part)), stream.chunk(Chunk(tool_calls=(CALL,))))
    assert isinstance(event, dict)
    assert event["choices"][0]["delta"] == part


def test_a_whole_answer_has_its_calls_with_arguments_as_text() -> None:
    (choice,) = json.loads(chat_completion("guide", [Chunk("hi"), Chunk(tool_calls=(CALL,))], DONE))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "hi"
    assert choice["message"]["tool_calls"] == [
        {"id": "c1", "index": 0, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    ]


def test_a_call_that_the_length_cut_is_no_call() -> None:
    cut = replace(DONE, finish=Finish.LENGTH, finishes=(Finish.LENGTH,))
    (choice,) = json.loads(chat_completion("guide", [Chunk("hi")], cut))["choices"]
    assert choice["finish_reason"] == "length"


def test_several_answers_keep_apart() -> None:
    two = replace(DONE, finishes=(Finish.STOP, Finish.LENGTH))
    chunks = [Chunk("a"), Chunk("x", index=1), Chunk("b"), Chunk("y", index=1)]
    choices = json.loads(chat_completion("guide", chunks, two))["choices"]
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in choices] == [
        (0, "ab", "stop"),
        (1, "xy", "length"),
    ]


def test_text_completions_repeat_their_prompt_when_asked_to() -> None:
    whole = json.loads(text_completion("guide", [Chunk("b")], DONE, {0: "a"}))
    assert (whole["object"], whole["choices"][0]["text"]) == ("text_completion", "ab")
    stream = TextStream("guide", False, {0: "a"})
    first, second, *_ = sent(stream.chunk(Chunk("b")), stream.chunk(Chunk("c")), stream.done(DONE))
    assert isinstance(first, dict) and isinstance(second, dict)
    assert (first["choices"][0]["text"], second["choices"][0]["text"]) == ("ab", "c")


def test_old_logprobs_have_offsets() -> None:
    told = (Logprob("ab", -0.1, b"ab", (Logprob("ab", -0.1, b"ab"),)), Logprob("c", -0.2, b"c"))  # type: ignore[arg-type]
    (choice,) = json.loads(text_completion("guide", [Chunk("abc", logprobs=told)], DONE, {}))["choices"]
    assert choice["logprobs"] == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"ab": -0.1}, {}],
        "text_offset": [0, 2],
    }
