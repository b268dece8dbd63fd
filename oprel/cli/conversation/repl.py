"""A conversation at the terminal: messages and slash commands, read from a keyboard that is handed in."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path

from oprel.api_models import OllamaChatResponse, OllamaMessage
from oprel.cli.commands.list import print_models
from oprel.cli.commands.show import described, part
from oprel.cli.conversation.answer_view import AnswerView, Look, tell_about
from oprel.cli.conversation.images import encode, images_for
from oprel.cli.conversation.session import Session, change, guess, is_open, loaded, unquoted
from oprel.cli.conversation.slash import COMMANDS, LEAVE, help_on
from oprel.cli.options import check_path, suggesting_names
from oprel.cli.screen import render
from oprel.client_api import Client
from oprel.core.exceptions import OprelError, ValidationError
from oprel.core.names import absolute

PROMPT, CONTINUATION = ">>> ", "... "

# Reads a line after this prompt and remembers it in the history if told to. Raises EOFError at the end.
Ask = Callable[[str, bool], str]


class Repl:
    """`keep` gets the session after each answer, unless no history is wanted.

    `hush` is around each answer, for what must not be heard meanwhile.
    """

    def __init__(
        self,
        client: Client,
        session: Session,
        ask: Ask,
        keep: Callable[[Session], None] = lambda session: None,
        hush: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.session = session
        self._client = client
        self._ask = ask
        self._keep = keep
        self._hush = hush
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
                self._obey(text.strip())
            except OprelError as error:
                render.error(error)
            except KeyboardInterrupt:  # a command was too slow for the user
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
        except EOFError:  # what is there counts
            pass
        except KeyboardInterrupt:
            return ""
        return None if text.strip() in LEAVE else text

    def _obey(self, text: str) -> None:
        word, _, argument = text.partition(" ")
        if word in self._handlers:
            self._handlers[word](argument.strip())
        elif word.startswith("/") and "/" not in word[1:] and not Path(word).exists():
            raise ValidationError(f"there is no command {word}", *guess(word, COMMANDS), "`/?` lists them.")
        elif text:
            self._turn(unquoted(text))

    def _turn(self, text: str) -> None:
        asked = replace(self.session, messages=(*self.session.messages, self._message(text)))
        answer = AnswerView(self._look())
        last = None
        try:
            with _shown(answer), self._hush():
                last = self._stream(asked, answer)
        except KeyboardInterrupt:
            pass
        finally:
            if answer.text:  # also half an answer stays in the conversation, as the user saw it
                said = OllamaMessage(role="assistant", content=answer.text)
                self.session = replace(asked, messages=(*asked.messages, said))
                if self.session.history:
                    self._keep(self.session)
        if last is not None:
            tell_about(last, asked.verbose)

    def _stream(self, asked: Session, answer: AnswerView) -> OllamaChatResponse:
        """The last piece."""
        pieces = self._client.chat(
            asked.model,
            asked.request,
            stream=True,
            options=asked.options or None,
            format=asked.format,
            think=asked.think,
            keep_alive=asked.keep_alive,
        )
        with render.patience(f"waiting for {asked.model}"):
            first = next(pieces)
        for last in chain([first], pieces):
            answer.add(last.message.content or "", last.message.thinking)
        return last

    def _message(self, text: str) -> OllamaMessage:
        """The text with the images that it names by their paths."""
        rest, paths = images_for(self._client, self.session.model, text)
        return OllamaMessage(role="user", content=rest, images=[encode(path) for path in paths] or None)

    def _look(self) -> Look:
        return Look(render.columns(), self.session.wordwrap, not self.session.hide_thinking)

    def _set(self, text: str) -> None:
        if not text:
            return self._help("set")
        self.session, said = change(self.session, text)
        render.line(said)

    def _show(self, what: str) -> None:
        if not what:
            return self._help("show")
        info = self._client.show(self.session.model)
        if what == "system" and self.session.system:
            render.line(self.session.system)
        else:
            render.line(described(info) if what == "info" else part(info, what))
        if what == "parameters" and self.session.options:
            render.line("\nSet here:")
            for name, value in self.session.options.items():
                render.line(f"{name:30} {value}")

    def _list(self, prefix: str) -> None:
        print_models(self._client, prefix)

    def _load(self, name: str) -> None:
        if not name:
            raise ValidationError("there is no model to load", "Write for example `/load guide`.")
        check_path(name)
        with suggesting_names(self._client, name), render.patience(f"loading {name}"):
            self._client.chat(name, keep_alive=self.session.keep_alive)  # no messages: loads it, or says why not
        self.session = loaded(self.session, name, self._client.show(name))
        self.show_saved()
        going_on = " goes on with the conversation" if self.session.messages else " is ready"
        render.line(f"{name}{going_on}.")

    def show_saved(self) -> None:
        """The conversation that was saved with the model."""
        for message in self.session.saved:
            if message.role == "user":
                render.line(f"{PROMPT}{message.content}")
            elif message.role == "assistant":
                with _shown(AnswerView(self._look())) as answer:
                    answer.add(message.content or "", None)

    def _save(self, name: str) -> None:
        if not name:
            raise ValidationError("the model needs a name", "Write for example `/save mine`.")
        session = self.session
        self._client.create(
            model=name,
            from_=absolute(session.model),
            system=session.system or None,
            parameters=dict(session.options) or None,
            messages=[*session.saved, *session.messages] or None,
        )
        render.line(f"Saved; `/load {name}` and `oprel run {name}` go on from here.")

    def _clear(self, _: str) -> None:
        self.session = replace(self.session, messages=())
        kept = f" What was saved with {self.session.model} stays." if self.session.saved else ""
        render.line(f"The conversation is forgotten.{kept}")

    def _help(self, topic: str) -> None:
        render.line(help_on(topic))


@contextmanager
def _shown(answer: AnswerView) -> Iterator[AnswerView]:
    """What is held back is shown also when the answer breaks off, and a blank line after it."""
    try:
        yield answer
    finally:
        answer.end()
        render.piece("\n\n")
