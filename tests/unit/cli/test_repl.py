"""Whole conversations with a daemon of few words; only it and the keyboard are made up."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from oprel.cli.repl import Repl
from oprel.client_api import Client

Typed = str | type[BaseException]
Said = list[dict[str, str]]


def line(content: str, *, done: bool = False) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"model": "tiny", "message": message, "done": done}).encode() + b"\n"


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
    """Answers each question with the next of `answers`, and remembers what it was sent."""

    answers: list[list[bytes]]
    interrupted: bool = False
    asked: list[Said] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(json.loads(request.content)["messages"])
        return httpx.Response(200, stream=Stream(self.answers.pop(0), self.interrupted))


@dataclass
class Screen:
    """What is seen at the end, the prompts included."""

    text: str = ""

    def keyboard(self, lines: Iterable[Typed]) -> Callable[[str], str]:
        """An `input` that gives these lines, raises what is an exception, and ends."""
        waiting = iter(lines)

        def ask(prompt: str) -> str:
            self.text += prompt
            typed = next(waiting, EOFError)
            if isinstance(typed, str):
                self.text += f"{typed}\n"
                return typed
            raise typed

        return ask

    def show(self, text: str) -> None:
        self.text += text


def converse(model: Model, *lines: Typed) -> str:
    """The screen after typing these lines."""
    screen = Screen()
    with Client("http://nowhere", transport=httpx.MockTransport(model)) as client:
        Repl(client, "tiny", screen.keyboard(lines), screen.show).run()
    return screen.text


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_a_question_is_answered_under_it() -> None:
    model = Model([answer("Hello", " there")])
    assert converse(model, "hi") == ">>> hi\nHello there\n\n>>> \n"
    assert model.asked == [[user("hi")]]


def test_a_question_comes_with_the_conversation_before_it() -> None:
    model = Model([answer("one"), answer("two")])
    converse(model, "first", "second")
    assert model.asked[1] == [user("first"), assistant("one"), user("second")]


def test_clear_forgets_the_conversation() -> None:
    model = Model([answer("one"), answer("two")])
    assert "Forgotten." in converse(model, "first", "/clear", "second")
    assert model.asked[1] == [user("second")]


@pytest.mark.parametrize("end", ["/bye", "/exit", "  /bye  ", EOFError])
def test_leaving_asks_nothing_more(end: Typed) -> None:
    assert "never" not in converse(Model([]), end, "never asked")


@pytest.mark.parametrize("command", ["/help", "/?"])
def test_help_names_every_command(command: str) -> None:
    shown = converse(Model([]), command)
    assert all(word in shown for word in ("/clear", "/bye", "/help", "Ctrl-C", "Ctrl-D"))


def test_an_unknown_command_leads_to_the_help() -> None:
    model = Model([])
    assert "Unknown command; /help lists them." in converse(model, "/nonsense with words")
    assert model.asked == []


@pytest.mark.parametrize("blank", ["", "   ", "\t"])
def test_an_empty_line_asks_nothing(blank: str) -> None:
    model = Model([])
    assert converse(model, blank).count(">>> ") == 2
    assert model.asked == []


def test_ctrl_c_at_the_prompt_tells_how_to_leave_and_goes_on() -> None:
    model = Model([answer("still here")])
    assert "Use Ctrl-D or /bye to leave." in converse(model, KeyboardInterrupt, "hi")
    assert model.asked == [[user("hi")]]


def test_ctrl_c_stops_an_answer_and_keeps_what_was_said() -> None:
    model = Model([answer("half", " of"), answer("whole")], interrupted=True)
    assert "half of\n\n>>> " in converse(model, "first", "second")
    assert model.asked[1] == [user("first"), assistant("half of"), user("second")]


def test_ctrl_c_before_the_first_word_is_survived() -> None:
    model = Model([answer(), answer("now")], interrupted=True)
    assert "now" in converse(model, "first", "second")


def test_an_answer_that_breaks_off_is_told_and_the_conversation_goes_on() -> None:
    model = Model([answer("half")[:-1], answer("whole")])
    shown = converse(model, "first", "second")
    assert "broke off" in shown
    assert "whole" in shown
