"""Whole conversations with a daemon of few words; only it and the keyboard are made up."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from oprel.api_models import OllamaMessage
from oprel.cli.conversation.repl import Ask, Repl
from oprel.cli.conversation.session import Session
from oprel.cli.screen import render
from oprel.client_api import Client

Typed = str | type[BaseException]
Said = list[dict[str, str]]
DETAILS = {"family": "llama", "parameter_size": "8B", "quantization_level": "Q4_0", "context_length": 2048}


def line(content: str, *, done: bool = False) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"model": "tiny", "message": message, "done": done, "eval_count": 7}).encode() + b"\n"


def answer(*words: str) -> list[bytes]:
    """The lines of a whole answer."""
    return [*(line(word) for word in words), line("", done=True)]


class Stream(httpx.SyncByteStream):
    """Lines as they arrive; `interrupted` is Ctrl-C before the last of them."""

    def __init__(self, lines: list[bytes], interrupted: bool) -> None:
        self._lines = lines
        self._interrupted = interrupted

    def __iter__(self) -> Iterator[bytes]:
        yield from self._lines[:-1]
        if self._interrupted:
            raise KeyboardInterrupt
        yield self._lines[-1]


@dataclass
class Model:
    """A daemon that answers each question with the next of `answers`, and remembers what it was sent.

    It knows the models `tiny` and `other`, which cannot see, and `saved`, which comes with a conversation.
    """

    answers: list[list[bytes]] = field(default_factory=list)
    interrupted: bool = False
    capabilities: tuple[str, ...] = ("completion",)
    requests: list[dict[str, Any]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)

    @property
    def asked(self) -> list[Said]:
        return [request["messages"] for request in self.requests]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        match request.url.path:
            case "/api/show":
                return httpx.Response(200, json=self._known(body["model"]))
            case "/api/create":
                self.created.append(body)
                return httpx.Response(200, json={"status": "success"})
            case "/api/tags":
                return httpx.Response(200, json={"models": [{"name": "tiny:latest", **self._listed()}]})
        if not body["messages"]:
            known = body["model"] in ("tiny", "other", "saved")
            return httpx.Response(200, content=answer()[-1]) if known else _not_found(body["model"])
        self.requests.append(body)
        return httpx.Response(200, stream=Stream(self.answers.pop(0), self.interrupted))

    def _known(self, model: str) -> dict[str, Any]:
        saved = [{"role": "user", "content": "before"}, {"role": "assistant", "content": "as ever"}]
        return {
            "modelfile": f"FROM {model}\n",
            "parameters": 'stop "###"',
            "template": "{{ .Prompt }}",
            "license": "one\ntwo\nthree",
            "system": "Be kind.",
            "details": DETAILS,
            "model_info": {},
            "capabilities": self.capabilities,
            "messages": saved if model == "saved" else None,
            "modified_at": "2026-01-01T00:00:00Z",
        }

    def _listed(self) -> dict[str, Any]:
        return {"model": "tiny", "modified_at": "2026-01-01T00:00:00Z", "size": 1, "digest": "ab" * 32, "details": {}}


def _not_found(model: str) -> httpx.Response:
    return httpx.Response(404, json={"error": f"model '{model}' not found", "code": "model_not_found"})


def keyboard(lines: Iterable[Typed]) -> Ask:
    """Types these lines, raises what is an exception, and ends. The prompts are seen as well."""
    waiting = iter(lines)

    def ask(prompt: str, remember: bool) -> str:
        render.piece(prompt)
        typed = next(waiting, EOFError)
        if isinstance(typed, str):
            render.line(typed)
            return typed
        raise typed

    return ask


Converse = Callable[..., str]


@pytest.fixture
def converse(capsys: pytest.CaptureFixture[str]) -> Converse:
    """The screen after typing these lines to a model."""

    def run(model: Model, *lines: Typed, session: Session | None = None) -> str:
        with Client("http://nowhere", transport=httpx.MockTransport(model)) as client:
            Repl(client, session or Session("tiny"), keyboard(lines)).run()
        return "".join(capsys.readouterr())

    return run


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_question_is_answered_under_it(converse: Converse) -> None:
    model = Model([answer("Hello", " there")])
    assert converse(model, "hi") == ">>> hi\nHello there\n\n>>> "
    assert model.asked == [[user("hi")]]


def test_a_question_comes_with_the_conversation_before_it(converse: Converse) -> None:
    model = Model([answer("one"), answer("two")])
    converse(model, "first", "second")
    assert model.asked[1] == [user("first"), assistant("one"), user("second")]


def test_a_message_of_several_lines_is_one_message(converse: Converse) -> None:
    model = Model([answer("yes")])
    assert '>>> """one\n... two\n... three"""\n' in converse(model, '"""one', "two", 'three"""')
    assert model.asked == [[user("one\ntwo\nthree")]]


def test_a_message_that_ends_with_the_input_counts(converse: Converse) -> None:
    model = Model([answer("yes")])
    converse(model, '"""one', "two")
    assert model.asked == [[user("one\ntwo")]]


def test_ctrl_c_drops_a_message_of_several_lines(converse: Converse) -> None:
    model = Model([answer("yes")])
    converse(model, '"""one', KeyboardInterrupt, "two")
    assert model.asked == [[user("two")]]


@pytest.mark.parametrize("command", ["/clear", "/reset"])
def test_clear_forgets_the_conversation(converse: Converse, command: str) -> None:
    model = Model([answer("one"), answer("two")])
    assert "Cleared" in converse(model, "first", command, "second")
    assert model.asked[1] == [user("second")]


@pytest.mark.parametrize("end", ["/bye", "/exit", "/quit", "  /bye  ", EOFError])
def test_leaving_asks_nothing_more(converse: Converse, end: Typed) -> None:
    assert "never" not in converse(Model(), end, "never asked")


@pytest.mark.parametrize("command", ["/help", "/?"])
def test_help_names_every_command(converse: Converse, command: str) -> None:
    shown = converse(Model(), command)
    assert all(word in shown for word in ("/set", "/show", "/load", "/save", "/clear", "/bye", "/help"))


def test_an_unknown_command_leads_to_one_that_there_is(converse: Converse) -> None:
    model = Model()
    assert "unknown command /laod\n  Did you mean `/load`?" in converse(model, "/laod tiny")
    assert model.asked == []


def test_a_path_that_begins_a_message_is_no_command(converse: Converse, tiny: Path) -> None:
    model = Model([answer("yes")] * 2)
    converse(model, f"{tiny} is what?", "/etc is what?")
    assert [asked[-1]["content"] for asked in model.asked] == [f"{tiny} is what?", "/etc is what?"]


@pytest.mark.parametrize("blank", ["", "   ", "\t"])
def test_an_empty_line_asks_nothing(converse: Converse, blank: str) -> None:
    model = Model()
    assert converse(model, blank).count(">>> ") == 2
    assert model.asked == []


def test_ctrl_c_at_the_prompt_tells_how_to_leave_and_goes_on(converse: Converse) -> None:
    model = Model([answer("still here")])
    assert "Use Ctrl-D or /bye to leave." in converse(model, KeyboardInterrupt, "hi")
    assert model.asked == [[user("hi")]]


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said(converse: Converse) -> None:
    model = Model([answer("half", " of"), answer("whole")], interrupted=True)
    assert "half of\n\n>>> " in converse(model, "first", "second")
    assert model.asked[1] == [user("first"), assistant("half of"), user("second")]


def test_a_question_that_got_no_word_of_answer_counts_as_not_asked(converse: Converse) -> None:
    model = Model([answer(), answer("now")], interrupted=True)
    assert "now" in converse(model, "first", "second")
    assert model.asked[1] == [user("second")]


def test_an_answer_that_breaks_off_is_told_and_the_conversation_goes_on(converse: Converse) -> None:
    model = Model([answer("half")[:-1], answer("whole")])
    shown = converse(model, "first", "second")
    assert "broke off" in shown
    assert "whole" in shown
    assert model.asked[1] == [user("first"), assistant("half"), user("second")]


def test_settings_are_sent_with_the_next_message(converse: Converse) -> None:
    model = Model([answer("yes")])
    settings = ("parameter seed 7", 'system """Be', 'brief."""', "format json", "think high")
    lines = [f"/set {one}" if not one.startswith("brief") else one for one in settings]
    converse(model, *lines, "hi", session=Session("tiny", keep_alive="1h"))
    assert model.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be\nbrief."}, user("hi")],
            "stream": True,
            "options": {"seed": 7},
            "format": "json",
            "think": "high",
            "keep_alive": "1h",
        }
    ]


def test_a_wrong_setting_is_told_and_changes_nothing(converse: Converse) -> None:
    model = Model([answer("yes")])
    assert "Error: seed must be a whole number" in converse(model, "/set parameter seed x", "hi")
    assert "options" not in model.requests[0]


def test_verbose_shows_the_figures_after_each_answer(converse: Converse) -> None:
    assert "eval count:           7 token(s)" in converse(Model([answer("yes")]), "/set verbose", "hi")
    assert "eval count" not in converse(Model([answer("yes")]), "/set verbose", "/set quiet", "hi")


def test_set_and_show_alone_tell_what_there_is(converse: Converse) -> None:
    shown = converse(Model(), "/set", "/show")
    assert "/set nowordwrap" in shown
    assert "/show license" in shown


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("info", "    context length      2048\n"),
        ("license", "one\ntwo\nthree\n"),
        ("modelfile", "FROM tiny\n"),
        ("parameters", 'stop "###"\n'),
        ("template", "{{ .Prompt }}\n"),
        ("system", "Be kind.\n"),
        ("nonsense", "Error: there is no 'nonsense' to show"),
    ],
)
def test_show_tells_about_the_model(converse: Converse, part: str, text: str) -> None:
    assert text in converse(Model(), f"/show {part}")


def test_show_tells_what_was_set_here(converse: Converse) -> None:
    shown = converse(Model(), "/set system Be brief.", "/set parameter seed 7", "/show system", "/show parameters")
    assert "Be brief.\n" in shown
    assert "Set in this conversation:\nseed" in shown


def test_list_lists_the_models(converse: Converse) -> None:
    assert "tiny:latest   abababababab" in converse(Model(), "/list")


def test_another_model_goes_on_with_the_conversation(converse: Converse) -> None:
    model = Model([answer("one"), answer("two")])
    assert "other continues the conversation." in converse(model, "first", "/load other", "second")
    assert model.requests[1]["model"] == "other"
    assert model.asked[1] == [user("first"), assistant("one"), user("second")]


@pytest.mark.parametrize("name", ["nosuch", "./nosuch.gguf", ""])
def test_a_model_that_there_is_not_changes_nothing(converse: Converse, name: str) -> None:
    model = Model([answer("one")])
    assert "Error: " in converse(model, f"/load {name}", "first")
    assert model.requests[0]["model"] == "tiny"


def test_a_saved_conversation_is_shown_and_left_to_the_daemon(converse: Converse) -> None:
    model = Model([answer("one"), answer("two")])
    shown = converse(model, "first", "/load saved", "second")
    assert ">>> before\nas ever\n\nsaved is ready." in shown
    assert model.asked[1] == [user("second")]


def test_save_keeps_the_conversation_and_its_settings(converse: Converse) -> None:
    model = Model([answer("one")])
    assert "oprel run mine" in converse(model, "/set system Be brief.", "/set parameter seed 7", "hi", "/save mine")
    assert model.created == [
        {
            "model": "mine",
            "from": "tiny",
            "system": "Be brief.",
            "parameters": {"seed": 7},
            "messages": [user("hi"), assistant("one")],
            "stream": False,
        }
    ]


def test_save_needs_a_name(converse: Converse) -> None:
    model = Model()
    assert "the model needs a name" in converse(model, "/save")
    assert model.created == []


def test_an_image_is_attached_for_a_model_that_sees(converse: Converse, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"cat")
    model = Model([answer("a cat")], capabilities=("completion", "vision"))
    assert "Added image" in converse(model, f"what is {tmp_path}/cat.png")
    assert model.asked == [[{"role": "user", "content": "what is", "images": ["Y2F0"]}]]


def test_an_image_stays_text_for_a_model_that_does_not(converse: Converse, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"cat")
    model = Model([answer("what?")])
    assert "tiny does not support images" in converse(model, f"what is {tmp_path}/cat.png")
    assert model.asked == [[user(f"what is {tmp_path}/cat.png")]]


def test_each_answer_is_kept_for_another_day() -> None:
    kept: list[Session] = []
    with Client("http://nowhere", transport=httpx.MockTransport(Model([answer("one")]))) as client:
        Repl(client, Session("tiny"), keyboard(["hi"]), kept.append).run()
    assert [session.messages for session in kept] == [
        (OllamaMessage(role="user", content="hi"), OllamaMessage(role="assistant", content="one"))
    ]
