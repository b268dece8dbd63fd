"""Reads a conversation's lines: from a terminal with editing, history and completion, or from any other input."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle

from oprel.cli.conversation.repl import CONTINUATION, Ask
from oprel.cli.conversation.session import is_open
from oprel.cli.conversation.slash import candidates, takes_more
from oprel.cli.screen import render
from oprel.client_api import Client
from oprel.core.exceptions import OprelError
from oprel.core.names import DEFAULT_TAG
from oprel.utils.files import open_own

HINT = "Send a message (/? for help)"


def at_terminal() -> bool:
    """True when both standard input and standard output are terminals."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def plain_keyboard(lines: TextIO | None) -> Ask:
    """Reads lines unchanged and shows no prompt."""

    def ask(prompt: str, remember: bool) -> str:
        line = lines.buffer.readline() if lines else b""
        if not line:
            raise EOFError
        return line.decode(errors="replace").rstrip("\r\n")

    return ask


def dumb_keyboard(lines: TextIO) -> Ask:
    """Reads lines from a terminal that cannot move its cursor: what it edits itself."""
    read = plain_keyboard(lines)

    def ask(prompt: str, remember: bool) -> str:
        render.piece(prompt)
        return read(prompt, remember)

    return ask


def terminal_keyboard(client: Client, history_file: Path) -> Ask:
    """Reads messages of one or more lines from the terminal. Only this user can read its history file."""
    history = _History(history_file)
    session: PromptSession[str] = PromptSession(
        history=history,
        multiline=True,  # keeps pasted lines in one message; Enter still sends
        key_bindings=_bindings(),
        prompt_continuation=CONTINUATION,
        completer=_Completer(client),
        complete_while_typing=False,
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        enable_suspend=True,  # Ctrl-Z
        placeholder=lambda: [("fg:ansibrightblack", "" if get_app().is_done else HINT)],
        tempfile_suffix=".md",
    )

    def ask(prompt: str, remember: bool) -> str:
        history.enabled = remember
        return session.prompt(prompt)

    return ask


@contextmanager
def echo_off() -> Iterator[None]:
    """Inside the block the terminal does not echo keys; what is typed appears at the next prompt.

    While the program is suspended the terminal is as it was before.
    """
    if sys.platform == "win32":
        yield
        return
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] = before[3] & ~termios.ECHO

    def suspend(number: int, frame: object) -> None:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # stops here, until the shell continues it
        signal.signal(signal.SIGTSTP, suspend)
        termios.tcsetattr(descriptor, termios.TCSANOW, silent)

    handler = signal.signal(signal.SIGTSTP, suspend)
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        signal.signal(signal.SIGTSTP, handler)


class _History(FileHistory):
    """A file that only its owner may read. The conversation continues if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.enabled = True
        super().__init__(str(path))

    def append_string(self, string: str) -> None:
        if self.enabled:
            super().append_string(string)

    def load_history_strings(self) -> Iterable[str]:
        """None from a FIFO, which would not end."""
        return super().load_history_strings() if Path(os.fsdecode(self.filename)).is_file() else ()

    def store_string(self, string: str) -> None:
        try:
            os.close(open_own(Path(os.fsdecode(self.filename)), os.O_WRONLY | os.O_CREAT))
            super().store_string(string)
        except OSError:
            pass  # it stays in memory until the end


class _Completer(Completer):
    def __init__(self, client: Client) -> None:
        self._client = client

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        text = document.text_before_cursor
        word = text.rsplit(" ", 1)[-1]
        for candidate in candidates(text, self._models):
            blank = " " if takes_more(text.removesuffix(word) + candidate) else ""
            yield Completion(candidate + blank, start_position=-len(word), display=candidate)

    def _models(self) -> list[str]:
        try:
            return [model.name.removesuffix(f":{DEFAULT_TAG}") for model in self._client.list().models]
        except OprelError:  # completion has nowhere to report an error
            return []


def _bindings() -> KeyBindings:
    bindings = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)  # and not searching the history

    @bindings.add("enter", filter=typing)
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=typing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-g", filter=typing)
    def edit(event: KeyPressEvent) -> None:
        event.current_buffer.open_in_editor()

    @bindings.add("c-c", filter=typing)
    def drop(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.app.exit(result="")
        else:
            event.app.exit(exception=KeyboardInterrupt)

    return bindings
