"""What clients send, and what they make of the answer. No connection is involved."""

import json
from pathlib import Path
from typing import Any

import pytest

from oprel.client import calls
from oprel.client.types import Image, ImageSource, Message, Options, RequestError
from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    ModelNotFoundError,
    OprelError,
    UnsupportedError,
    ValidationError,
)

HELLO = {"role": "user", "content": "hello"}


def sent(call: calls.ApiCall[Any]) -> Any:
    assert call.content is not None
    return json.loads(call.content)


@pytest.mark.parametrize(
    ("call", "line", "body"),
    [
        (
            calls.generate("tiny", "hello", None, False),
            "POST /api/generate",
            {"model": "tiny", "prompt": "hello", "stream": False},
        ),
        (
            calls.generate("tiny", "", "end", True, system="Be kind.", raw=True, think=False, keep_alive=0),
            "POST /api/generate",
            {"model": "tiny", "prompt": "", "suffix": "end", "stream": True, "system": "Be kind.", "raw": True}
            | {"think": False, "keep_alive": 0},
        ),
        (
            calls.chat("tiny", [HELLO], True, options={"seed": 7}, tools=[]),
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
        (calls.copy("tiny", "small"), "POST /api/copy", {"source": "tiny", "destination": "small"}),
        (calls.delete("tiny"), "DELETE /api/delete", {"model": "tiny"}),
        (calls.pull("tiny", False, True), "POST /api/pull", {"model": "tiny", "insecure": False, "stream": True}),
        (calls.push("tiny", True, False), "POST /api/push", {"model": "tiny", "insecure": True, "stream": False}),
        (
            calls.create("mine", "tiny", [HELLO], False, system="Be kind.", quantize=None),
            "POST /api/create",
            {"model": "mine", "from": "tiny", "messages": [HELLO], "stream": False, "system": "Be kind."},
        ),
        (
            calls.load("tiny", options=None, keep_alive="5m", fetch=False),
            "POST /load",
            {"model": "tiny", "keep_alive": "5m", "fetch": False, "stream": True},
        ),
        (calls.unload("tiny"), "POST /unload", {"model": "tiny"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_asked_is_sent_and_nulls_are_left_out(call: calls.ApiCall[Any], line: str, body: object) -> None:
    assert f"{call.method} {call.path}" == line
    assert sent(call) == body


def test_a_prompt_of_a_conversation_is_sent_to_the_call_that_remembers() -> None:
    call = calls.generate("tiny", "hello", None, True, conversation_id="walk", system_prompt="Be kind.", options={})
    assert (call.method, call.path) == ("POST", "/generate")
    assert sent(call) == {
        "model": "tiny",
        "prompt": "hello",
        "stream": True,
        "options": {},
        "conversation_id": "walk",
        "system_prompt": "Be kind.",
    }
    assert sent(calls.generate("tiny", "hello", None, False, conversation_id=""))["conversation_id"] == ""


def test_a_system_prompt_is_a_system_message() -> None:
    call = calls.generate("tiny", "hello", None, False, system_prompt="Be kind.")
    assert call.path == "/api/generate"
    assert sent(call) == {"model": "tiny", "prompt": "hello", "stream": False, "system": "Be kind."}
    with pytest.raises(TypeError, match="system and system_prompt are the same argument"):
        calls.generate("tiny", "hello", None, False, system="Be kind.", system_prompt="Be brief.")


@pytest.mark.parametrize("extras", [{"images": [b"x"]}, {"raw": True}, {"context": [1]}, {"template": "x"}])
def test_a_conversation_does_not_take_what_it_could_not_remember(extras: Any) -> None:
    with pytest.raises(ValidationError, match=f"conversation_id does not take {next(iter(extras))}"):
        calls.generate("tiny", "hello", None, False, conversation_id="walk", **extras)
    with pytest.raises(ValidationError, match="does not take suffix"):
        calls.generate("tiny", "hello", "end", False, conversation_id="walk")


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (calls.list_models(), "/api/tags"),
        (calls.ps(), "/api/ps"),
        (calls.engines(), "/models"),
        (calls.health(), "/health"),
        (calls.crashes(), "/crashes"),
        (calls.crash("a/../b?"), "/crashes/a%2F..%2Fb%3F"),
        (calls.logs("a b", True), "/logs?model=a+b&follow=true"),
        (calls.quarantine(), "/quarantine"),
    ],
    ids=["list", "ps", "engines", "health", "crashes", "crash", "logs", "quarantine"],
)
def test_what_only_looks_sends_no_body(call: calls.ApiCall[Any], path: str) -> None:
    assert (call.method, call.path, call.content) == ("GET", path, None)


def test_messages_are_no_text() -> None:
    with pytest.raises(ValidationError, match="messages must be a list"):
        calls.chat("tiny", "hello", stream=False)  # type: ignore[arg-type]


def test_messages_may_be_objects() -> None:
    call = calls.chat("tiny", [Message(role="system", content="Be kind."), HELLO], False)
    assert sent(call)["messages"] == [{"role": "system", "content": "Be kind."}, HELLO]


def test_options_may_be_an_object_of_which_only_what_is_set_counts() -> None:
    call = calls.generate("tiny", "hello", None, False, options=Options(seed=7, stop=["."]))
    assert sent(call)["options"] == {"seed": 7, "stop": ["."]}


@pytest.mark.parametrize("given", ["path", "text of a path", "bytes", "base64", "object"])
def test_an_image_is_sent_as_base64_however_it_was_given(tmp_path: Path, given: str) -> None:
    file = tmp_path / "dot.png"
    file.write_bytes(b"\x89PNG")
    images: dict[str, ImageSource] = {
        "path": file,
        "text of a path": str(file),
        "bytes": b"\x89PNG",
        "base64": "iVBORw==",
        "object": Image(value=file),
    }
    image = images[given]
    assert sent(calls.generate("tiny", "what?", None, False, images=[image]))["images"] == ["iVBORw=="]
    for message in ({**HELLO, "images": [image]}, Message(role="user", images=[image])):
        assert sent(calls.chat("tiny", [message], False))["messages"][0]["images"] == ["iVBORw=="]


@pytest.mark.parametrize(("image", "complaint"), [("absent.png", "no image at absent.png"), ("a cat!", "nor base64")])
def test_what_is_no_image_is_refused_before_anything_is_sent(image: str, complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        calls.chat("tiny", [{**HELLO, "images": [image]}], False)


def test_an_answer_opens_no_file_of_this_machine() -> None:
    content = b'{"model": "tiny", "message": {"role": "assistant", "images": ["/etc/hostname"]}, "done": true}'
    assert calls.chat("tiny", [HELLO], False).parse(200, content).message.images == ["/etc/hostname"]


def test_an_answer_can_be_part_of_the_next_question() -> None:
    content = b"""{"model": "tiny", "done": true, "message": {"role": "assistant", "content": "", "tool_calls":
        [{"function": {"name": "add", "arguments": {"a": 1}}}]}}"""
    message = calls.chat("tiny", [HELLO], False).parse(200, content).message
    said = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}]}
    for form in (message, dict(message), {**HELLO, "role": "assistant", "tool_calls": message.tool_calls}):
        (told,) = sent(calls.chat("tiny", [form], False))["messages"]
        assert told["tool_calls"] == said["tool_calls"] and told["role"] == "assistant"


def test_tools_are_functions_or_descriptions() -> None:
    def add(a: int) -> int:
        """Add one."""
        return a + 1

    call = calls.chat("tiny", [HELLO], False, tools=[add, {"type": "function", "function": {"name": "sub"}}])
    function, described = sent(call)["tools"]
    assert (function["type"], function["function"]["name"]) == ("function", "add")
    assert described == {"type": "function", "function": {"name": "sub"}}


def test_a_mistyped_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'optoins'"):
        calls.chat("tiny", [HELLO], False, optoins={})  # type: ignore[call-arg]


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sent(calls.show("./tiny.gguf"))["model"] == f"{tmp_path}/tiny.gguf"
    assert sent(calls.load("tiny.gguf"))["model"] == f"{tmp_path}/tiny.gguf"
    assert sent(calls.load("user/tiny"))["model"] == "user/tiny"
    assert sent(calls.create("mine", "./tiny.gguf", None, False))["from"] == f"{tmp_path}/tiny.gguf"


def test_an_answer_is_read_as_an_object_or_a_dict() -> None:
    content = b'{"model": "tiny", "message": {"role": "assistant", "content": "hi"}, "done": true, "new": 1}'
    reply = calls.chat("tiny", [HELLO], False).parse(200, content)
    assert (reply.message.content, reply["message"]["content"], reply.done) == ("hi", "hi", True)
    assert "new" not in reply


def test_a_line_of_a_stream_is_a_piece() -> None:
    call = calls.generate("tiny", "hello", None, True)
    piece = call.parse_line('{"model": "tiny", "response": "hi", "done": false}')
    assert (piece.response, piece.done) == ("hi", False)


def test_an_error_line_ends_a_stream_with_its_own_class() -> None:
    line = '{"error":"the engine died","code":"backend_crashed","resolution_steps":["Ask again."]}'
    with pytest.raises(BackendCrashedError, match="(?m)^the engine died$") as caught:
        calls.chat("tiny", [HELLO], True).parse_line(line)
    assert caught.value.resolution_steps == ("Ask again.",)


def test_a_stream_is_whole_when_it_says_so() -> None:
    pull = calls.pull("tiny", False, True)
    assert not calls.is_last(pull.parse_line('{"status": "pulling", "completed": 1}'))
    assert calls.is_last(pull.parse_line('{"status": "success"}'))
    chat = calls.chat("tiny", [HELLO], True)
    assert calls.is_last(chat.parse_line('{"model": "tiny", "message": {"role": "assistant"}, "done": true}'))


def test_an_empty_answer_is_a_success_where_no_other_comes() -> None:
    assert calls.delete("tiny").parse(200, b"").status == calls.copy("a", "b").parse(200, b"")["status"] == "success"


def test_times_and_sizes_are_those_of_python() -> None:
    details = '{"format": "gguf", "family": "llama"}'
    model = (
        f'{{"name": "tiny", "model": "tiny", "size": 1048576, "digest": "0", "details": {details}, '
        '"modified_at": "2026-01-02T03:04:05.123456789+02:00"}'
    )
    (listed,) = calls.list_models().parse(200, f'{{"models": [{model}]}}'.encode()).models
    assert listed.modified_at.isoformat() == "2026-01-02T03:04:05.123456+02:00"
    assert (listed.size, listed.size.human_readable()) == (2**20, "1.0MiB")


def test_model_info_has_the_name_of_ollamas_client_too() -> None:
    content = b"""{"modelfile": "", "details": {}, "model_info": {"general.architecture": "llama"},
        "capabilities": [], "modified_at": "2026-01-02T03:04:05Z"}"""
    shown = calls.show("tiny").parse(200, content)
    assert shown.modelinfo == shown["modelinfo"] == shown.get("modelinfo") == shown.model_info
    assert "modelinfo" in shown and "license" not in shown


def test_an_answer_that_speaks_of_errors_is_none() -> None:
    line = '{"model": "tiny", "response": "{\\"error\\": 1}", "done": false}'
    assert calls.generate("tiny", "hello", None, True).parse_line(line).response == '{"error": 1}'


@pytest.mark.parametrize(
    ("content", "cls", "message"),
    [
        (b'{"error": "no such model", "code": "model_not_found"}', ModelNotFoundError, "no such model"),
        (b'{"error": {"type": "backend_error", "message": "it broke"}}', BackendError, "it broke"),
        (b'{"error": "Ollama says no"}', OprelError, "Ollama says no"),
        (b'{"error": "of tomorrow", "code": "unheard_of"}', OprelError, "of tomorrow"),
        (b'{"detail": "else"}', OprelError, "the server at this address is not oprel (HTTP 502)"),
        (b"[]", OprelError, "the server at this address is not oprel (HTTP 502)"),
        (b"<html>Bad \xff Gateway", OprelError, "the server at this address is not oprel (HTTP 502)"),
        (b"", OprelError, "the server at this address is not oprel (HTTP 502)"),
    ],
)
def test_whatever_answers_an_error_it_is_told(content: bytes, cls: type[OprelError], message: str) -> None:
    with pytest.raises(OprelError) as caught:
        calls.ps().parse(502, content)
    assert (type(caught.value), caught.value.message) == (cls, message)
    assert (caught.value.error, caught.value.status_code) == (message, 502)


def test_a_call_that_the_daemon_lacks_is_named_as_such() -> None:
    with pytest.raises(UnsupportedError, match="does not have this call") as caught:
        calls.push("tiny", False, False).parse(404, b"404 page not found")
    assert caught.value.status_code == 404


def test_an_error_in_a_stream_has_the_status_of_its_kind() -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        calls.ps().parse_line('{"error": "no such model", "code": "model_not_found"}')
    assert caught.value.status_code == 404


@pytest.mark.parametrize("content", [b"", b"Ollama is running", b'{"models": 1}', b"[]"])
def test_an_answer_of_another_server_is_told_from_the_daemons(content: bytes) -> None:
    with pytest.raises(OprelError, match="(?m)^the server at this address is not oprel$") as caught:
        calls.ps().parse(200, content)
    assert "OPREL_HOST" in caught.value.resolution_steps[0]


def test_a_stream_that_just_stops_is_no_answer() -> None:
    error = calls.unfinished()
    assert isinstance(error, BackendCrashedError)
    assert "broke off" in error.message
