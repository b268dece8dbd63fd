"""What clients send, and what they make of the answer. No connection is involved."""

import json
from pathlib import Path
from typing import Any

import pytest

from oprel import api_models as wire
from oprel.client import calls
from oprel.core.exceptions import BackendCrashedError, BackendError, ModelNotFoundError, OprelError

HELLO = {"role": "user", "content": "hello"}


def sent(call: calls.Call[Any]) -> Any:
    assert call.content is not None
    return json.loads(call.content)


@pytest.mark.parametrize(
    ("call", "line", "body"),
    [
        (
            calls.generate("tiny", "hello", False, None, False),
            "POST /api/generate",
            {"model": "tiny", "prompt": "hello", "stream": False, "raw": False},
        ),
        (
            calls.generate("tiny", "", True, "Be kind.", True, think=False, keep_alive=0, format="json"),
            "POST /api/generate",
            {"model": "tiny", "prompt": "", "stream": True, "system": "Be kind.", "raw": True}
            | {"think": False, "keep_alive": 0, "format": "json"},
        ),
        (
            calls.chat("tiny", [HELLO], True, options={"seed": 7}),
            "POST /api/chat",
            {"model": "tiny", "messages": [HELLO], "stream": True, "options": {"seed": 7}},
        ),
        (
            calls.embed("tiny", ["a", "b"], truncate=False, dimensions=None),
            "POST /api/embed",
            {"model": "tiny", "input": ["a", "b"], "truncate": False},
        ),
        (calls.embeddings("tiny", "a"), "POST /api/embeddings", {"model": "tiny", "prompt": "a"}),
        (calls.show("tiny"), "POST /api/show", {"model": "tiny"}),
        (calls.load("tiny", options=None, keep_alive="5m"), "POST /load", {"model": "tiny", "keep_alive": "5m"}),
        (calls.unload("tiny"), "POST /unload", {"model": "tiny"}),
    ],
    ids=["generate", "generate with extras", "chat", "embed", "embeddings", "show", "load", "unload"],
)
def test_what_is_asked_is_sent_and_nulls_are_left_out(call: calls.Call[Any], line: str, body: object) -> None:
    assert f"{call.method} {call.path}" == line
    assert sent(call) == body


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (calls.list_models(), "/api/tags"),
        (calls.ps(), "/api/ps"),
        (calls.engines(), "/models"),
        (calls.health(), "/health"),
    ],
    ids=["list", "ps", "engines", "health"],
)
def test_what_only_looks_sends_no_body(call: calls.Call[Any], path: str) -> None:
    assert (call.method, call.path, call.content) == ("GET", path, None)


def test_messages_may_be_objects() -> None:
    call = calls.chat("tiny", [wire.Message(role="system", content="Be kind."), HELLO], False)
    assert sent(call)["messages"] == [{"role": "system", "content": "Be kind."}, HELLO]


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sent(calls.show("./tiny.gguf"))["model"] == f"{tmp_path}/tiny.gguf"
    assert sent(calls.load("tiny.gguf"))["model"] == f"{tmp_path}/tiny.gguf"
    assert sent(calls.load("user/tiny"))["model"] == "user/tiny"


def test_an_answer_is_read_as_an_object_or_a_dict() -> None:
    content = b'{"model": "tiny", "message": {"role": "assistant", "content": "hi"}, "done": true, "new": 1}'
    reply = calls.chat("tiny", [HELLO], False).parse(200, content)
    assert (reply.message.content, reply["message"]["content"], reply.done) == ("hi", "hi", True)
    assert "new" not in reply


def test_a_line_of_a_stream_is_a_piece() -> None:
    call = calls.generate("tiny", "hello", True, None, False)
    piece = call.parse_line('{"model": "tiny", "response": "hi", "done": false}')
    assert (piece.response, piece.done) == ("hi", False)


def test_an_error_line_ends_a_stream_with_its_own_class() -> None:
    line = '{"error":"the engine died","code":"backend_crashed","resolution_steps":["Ask again."]}'
    with pytest.raises(BackendCrashedError, match="^the engine died$") as caught:
        calls.chat("tiny", [HELLO], True).parse_line(line)
    assert caught.value.resolution_steps == ("Ask again.",)


def test_an_answer_that_speaks_of_errors_is_none() -> None:
    line = '{"model": "tiny", "response": "{\\"error\\": 1}", "done": false}'
    assert calls.generate("tiny", "hello", True, None, False).parse_line(line).response == '{"error": 1}'


@pytest.mark.parametrize(
    ("content", "cls", "message"),
    [
        (b'{"error": "no such model", "code": "model_not_found"}', ModelNotFoundError, "no such model"),
        (b'{"error": {"type": "backend_error", "message": "it broke"}}', BackendError, "it broke"),
        (b'{"error": "Ollama says no"}', OprelError, "Ollama says no"),
        (b'{"error": "of tomorrow", "code": "unheard_of"}', OprelError, "of tomorrow"),
        (b'{"detail": "else"}', OprelError, "what answers there is not oprel (HTTP 502)"),
        (b"[]", OprelError, "what answers there is not oprel (HTTP 502)"),
        (b"<html>Bad \xff Gateway", OprelError, "what answers there is not oprel (HTTP 502)"),
        (b"", OprelError, "what answers there is not oprel (HTTP 502)"),
    ],
)
def test_whatever_answers_an_error_it_is_told(content: bytes, cls: type[OprelError], message: str) -> None:
    with pytest.raises(OprelError) as caught:
        calls.ps().parse(502, content)
    assert (type(caught.value), caught.value.message) == (cls, message)


@pytest.mark.parametrize("content", [b"", b"Ollama is running", b'{"models": 1}', b"[]"])
def test_an_answer_of_another_server_is_told_from_the_daemons(content: bytes) -> None:
    with pytest.raises(OprelError, match="^what answers there is not oprel$") as caught:
        calls.ps().parse(200, content)
    assert "OPREL_HOST" in caught.value.resolution_steps[0]


def test_a_stream_that_just_stops_is_no_answer() -> None:
    error = calls.unfinished()
    assert isinstance(error, BackendCrashedError)
    assert "broke off" in error.message
