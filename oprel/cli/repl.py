"""A conversation at the terminal."""

from collections.abc import Callable, Iterable

from oprel.api_models import Message
from oprel.client_api import Client
from oprel.core.exceptions import OprelError

HELP = """\
/clear   forget the conversation
/bye     leave (also Ctrl-D)
/help    this text
Ctrl-C stops an answer and keeps the conversation."""


class Repl:
    """Reads lines from `ask(prompt)`, which raises EOFError at the end, and shows answers through `show(text)`."""

    def __init__(self, client: Client, model: str, ask: Callable[[str], str], show: Callable[[str], None]) -> None:
        self._client = client
        self._model = model
        self._ask = ask
        self._show = show
        self._messages: list[Message] = []
        self._commands = {"/clear": self._clear, "/help": self._help, "/?": self._help}

    def run(self) -> None:
        while (line := self._next()) is not None:
            if line.startswith("/"):
                self._commands.get(line.split()[0], self._unknown)()
            elif line:
                self._turn(line)

    def _next(self) -> str | None:
        """The next line; None at the end."""
        try:
            line = self._ask(">>> ").strip()
        except EOFError:
            self._show("\n")
            return None
        except KeyboardInterrupt:
            self._show("\nUse Ctrl-D or /bye to leave.\n")
            return ""
        return None if line in ("/bye", "/exit") else line

    def _turn(self, line: str) -> None:
        asked = [*self._messages, Message(role="user", content=line)]
        texts: list[str] = []
        try:
            self._answer(asked, texts)
        except KeyboardInterrupt:
            pass  # what was said so far stays in the conversation, as the user saw it
        except OprelError as error:
            self._show(f"\nError: {error.message}")
        finally:
            self._show("\n\n")
        self._messages = [*asked, Message(role="assistant", content="".join(texts))]

    def _answer(self, asked: Iterable[Message], texts: list[str]) -> None:
        for part in self._client.chat(self._model, list(asked), stream=True):
            texts.append(part.message.content)
            self._show(part.message.content)

    def _clear(self) -> None:
        self._messages = []
        self._show("Forgotten.\n")

    def _help(self) -> None:
        self._show(HELP + "\n")

    def _unknown(self) -> None:
        self._show("Unknown command; /help lists them.\n")
