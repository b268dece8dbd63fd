"""A conversation at the terminal: messages and slash commands, read by a function that the caller supplies."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path

from oprel.api_models import OllamaChatResponse, OllamaMessage
from oprel.cli.commands.models.list import print_models
from oprel.cli.commands.models.show import described, part
from oprel.cli.conversation.answer_view import AnswerView, Look, look, print_notes
from oprel.cli.conversation.images import encode, images_for
from oprel.cli.conversation.session import Session, change, is_open, loaded, unquoted
from oprel.cli.conversation.slash import LEAVE, help_on, hints
from oprel.cli.options import check_path, suggesting_names
from oprel.cli.screen import render
from oprel.client_api import Client
from oprel.core.exceptions import OprelError, ValidationError
from oprel.core.names import absolute

PROMPT, CONTINUATION = ">>> ", "... "

# (prompt, remember) -> a line; `remember` adds it to the history. Raises EOFError at the end of the input.
Ask = Callable[[str, bool], str]


class Repl:
    """`keep` receives the session after each answer, unless its history is off.

    `while_answering` surrounds each answer.
    """

    def __init__(
        self,
        client: Client,
        session: Session,
        ask: Ask,
        keep: Callable[[Session], None] = lambda session: None,
        while_answering: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.session = session
        self._client = client
        self._ask = ask
        self._keep = keep
        self._while_answering = while_answering
        self._handlers = {
            "/set": self._set,
            "/show": self._show,
            "/list": self._list,
            "/load": self._load,
            "/save": self._save,
            "/clear": self._clear,
            "/reset": self._clear,
            "/help": self._help,
            "/?": self._help,
        }

    def run(self) -> None:
        while (text := self._next()) is not None:
            try:
                self._handle(text.strip())
            except OprelError as error:
                render.error(error)
            except KeyboardInterrupt:  # the user interrupted a command
                render.line()

    def _next(self) -> str | None:
        """The next message or command; None at the end."""
        try:
            text = self._ask(PROMPT, self.session.history)
        except EOFError:
            return None
        except KeyboardInterrupt:
            render.line("Use Ctrl-D or /bye to leave.")
            return ""
        try:
            while is_open(text):
                text += "\n" + self._ask(CONTINUATION, self.session.history)
        except EOFError:  # the message ends here
            pass
        except KeyboardInterrupt:
            return ""
        return None if text.split(maxsplit=1)[:1] in LEAVE else text

    def _handle(self, text: str) -> None:
        word, _, argument = text.partition(" ")
        if word in self._handlers:
            self._handlers[word](argument.strip())
        elif word.startswith("/") and "/" not in word[1:] and not Path(word).exists():
            raise ValidationError(f"unknown command {word}", *hints(text), "`/?` lists them.")
        elif text:
            self._send(unquoted(text))

    def _send(self, text: str) -> None:
        session = replace(self.session, messages=(*self.session.messages, self._message(text)))
        answer = AnswerView(self._look())
        last = None
        try:
            with _shown(answer), self._while_answering():
                last = self._stream(session, answer)
        except KeyboardInterrupt:
            pass
        finally:
            if answer.text:  # a partial answer, too, stays in the conversation, as the user saw it
                reply = OllamaMessage(role="assistant", content=answer.text)
                self.session = replace(session, messages=(*session.messages, reply))
                if self.session.history:
                    self._keep(self.session)
        if last is not None:
            print_notes(last, session.verbose)

    def _stream(self, session: Session, answer: AnswerView) -> OllamaChatResponse:
        """Show the answer; return its last piece."""
        pieces = self._client.chat(
            session.model,
            session.request,
            stream=True,
            options=session.options or None,
            format=session.format,
            think=session.think,
            keep_alive=session.keep_alive,
        )
        with render.waiting(f"waiting for {session.model}"):
            first = next(pieces)
        for last in chain([first], pieces):
            answer.add(last.message.content or "", last.message.thinking)
        return last

    def _message(self, text: str) -> OllamaMessage:
        """A message of the text and the images that it names by their paths."""
        rest, paths = images_for(self._client, self.session.model, text)
        return OllamaMessage(role="user", content=rest, images=[encode(path) for path in paths] or None)

    def _look(self) -> Look:
        return look(self.session.wordwrap, not self.session.hide_thinking)

    def _set(self, text: str) -> None:
        if not text:
            return self._help("set")
        self.session, reply = change(self.session, text)
        render.line(reply)

    def _show(self, what: str) -> None:
        if not what:
            return self._help("show")
        info = self._client.show(self.session.model)
        if what == "system" and self.session.system:
            render.verbatim(self.session.system)
        else:
            render.verbatim(described(info, width=render.terminal_width()) if what == "info" else part(info, what))
        if what == "parameters" and self.session.options:
            render.line("\nSet in this conversation:")
            for name, value in self.session.options.items():
                render.line(f"{name:30} {value}")

    def _list(self, prefix: str) -> None:
        print_models(self._client, prefix)

    def _load(self, name: str) -> None:
        if not name:
            raise ValidationError("no model was given", "For example: `/load guide`.")
        check_path(name)
        with suggesting_names(self._client, name), render.waiting(f"loading {name}"):
            self._client.chat(name, keep_alive=self.session.keep_alive)  # without messages: loads the model, or raises
        self.session = loaded(self.session, name, self._client.show(name))
        self.show_saved()
        status = "continues the conversation" if self.session.messages else "is ready"
        render.line(f"{name} {status}.")

    def show_saved(self) -> None:
        """Print the conversation that was saved with the model."""
        for message in self.session.saved:
            if message.role == "user":
                render.line(f"{PROMPT}{message.content}")
            elif message.role == "assistant":
                with _shown(AnswerView(self._look())) as answer:
                    answer.add(message.content or "", None)

    def _save(self, name: str) -> None:
        if not name:
            raise ValidationError("the model needs a name", "For example: `/save mine`.")
        session = self.session
        self._client.create(
            model=name,
            from_=absolute(session.model),
            system=session.system or None,
            parameters=dict(session.options) or None,
            messages=[*session.saved, *session.messages] or None,
        )
        render.line(f"Saved. `/load {name}` or `oprel run {name}` continues from here.")

    def _clear(self, _: str) -> None:
        self.session = replace(self.session, messages=())
        kept = f" The messages saved with {self.session.model} stay." if self.session.saved else ""
        render.line(f"Cleared the conversation.{kept}")

    def _help(self, topic: str) -> None:
        render.verbatim(help_on(topic, render.terminal_width() or render.NARROW))


@contextmanager
def _shown(answer: AnswerView) -> Iterator[AnswerView]:
    """Show text that is held back also when the answer breaks off, then a blank line."""
    try:
        yield answer
    finally:
        answer.end()
        render.piece("\n\n")
