"""Everything the command line prints: tables, streamed text, errors. The only module that calls `print`.

Text of strangers, such as models, files and other machines, passes `harmless` here and controls no terminal.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from oprel.cli.screen.table import WHAT_FITS, ColumnChoice, cell_width, drawn, named, wrapped
from oprel.core.configuration.environment import is_dumb_terminal
from oprel.core.exceptions import OprelError, ValidationError
from oprel.utils.text import harmless, harmless_json, one_line

if TYPE_CHECKING:
    from oprel.api_models import Wire
    from oprel.cli.screen.table import Column

WIDTH, NARROW = 1000, 80  # columns
UNLIMITED = 10**9  # columns
CONTINUED = " \\"  # how a shell's line says that the next one belongs to it
SUCCESS = "success"
DIGEST = r"\b(sha256:[0-9a-f]{12})[0-9a-f]{52}\b"  # compiled when needed
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def line(text: str = "") -> None:
    """Print sentences; at a terminal long lines wrap between words, and keep their indent."""
    width = terminal_width()
    for part in harmless(text).split("\n"):
        verbatim("\n".join(_wrapped(part, width, len(part) - len(part.lstrip()))))


def verbatim(text: str) -> None:
    """Print lines that fit already."""
    controlling(f"{harmless(text)}\n")


def piece(text: str) -> None:
    """Print a part of a line."""
    controlling(harmless(text))


def data(text: str) -> None:
    """Print what a program may read, such as a template: only a terminal gets it changed."""
    controlling(harmless(text) if sys.stdout.isatty() else text)


def controlling(text: str, output: TextIO | None = None) -> None:
    """Print what may control the terminal: our own sequences, around text that was made harmless before."""
    print(text, end="", file=output or sys.stdout, flush=True)


def prose(text: str, head: str = "") -> None:
    """Print sentences; at a terminal they wrap between words, under the end of `head`."""
    for part in harmless(text).split("\n"):
        verbatim("\n".join(_wrapped(head + part, terminal_width(), cell_width(head))))
        head = " " * cell_width(head)


def command(words: Sequence[str]) -> None:
    """Print a command for a shell; at a terminal in several lines if it is long, which can be pasted as they are."""
    from shlex import quote

    width = terminal_width() or UNLIMITED
    lines = wrapped(" ".join(map(quote, words)), width - len(CONTINUED), "    ")
    verbatim(f"{CONTINUED}\n".join(lines))


def note(text: str) -> None:
    """Print a message on standard error, beside the output proper."""
    width = terminal_width(sys.stderr) if has_watcher() else 0
    for part in harmless(text).split("\n"):
        indent = len(part) - len(part.lstrip())
        aside("\n".join(_wrapped(part, width, indent)) + "\n")


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """The lines of a text within `width`; one line for a width of 0."""
    return wrapped(text, width, " " * indent) if width else [text]


def aside(text: str) -> None:
    """Print a piece of streamed text on standard error."""
    controlling(harmless(text), sys.stderr)


def columns() -> int:
    """The terminal's width; 0 when the output is not a terminal, or one that cannot move its cursor."""
    return 0 if is_dumb_terminal() else terminal_width()


def terminal_width(output: TextIO | None = None) -> int:
    """The width of the terminal that is standard output or `output`; 0 when that is not a terminal."""
    output = output or sys.stdout
    if not output.isatty():
        return 0
    try:
        return os.get_terminal_size(output.fileno()).columns or WIDTH
    except OSError:  # a terminal that does not report its size
        return NARROW


def has_watcher() -> bool:
    """True if standard error is a terminal."""
    return sys.stderr.isatty()


def confirms(prompt: str) -> bool:
    """Ask the user; True for yes. Raises ValidationError without a terminal."""
    if not (sys.stdin and sys.stdin.isatty() and has_watcher()):
        raise ValidationError("this needs a confirmation, and there is no terminal to ask at", "Confirm with --yes.")
    aside(f"{prompt} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def error(problem: OprelError) -> None:
    """Further lines of the message are indented, so that none looks like advice or another error."""
    note(f"Error: {problem.message}".replace("\n", "\n    "))
    for step in problem.resolution_steps:
        note(f"  {step}".replace("\n", "\n    "))


def json(value: "Wire | str") -> None:
    """Print a value as JSON, or JSON that is written already."""
    text = value if isinstance(value, str) else value.model_dump_json(indent=2)
    controlling(f"{harmless_json(text)}\n")


def table(
    columns: "Sequence[Column | str]", rows: Iterable[Sequence[str]], choice: ColumnChoice = WHAT_FITS
) -> list[str]:
    """Print a table: at a terminal as it fits, elsewhere in full. Returns the titles of the columns that are shown."""
    shown, (titles, *others) = drawn(named(columns), rows, terminal_width(), choice)
    is_bold = sys.stdout.isatty() and not is_dumb_terminal()
    controlling(f"{BOLD}{titles}{PLAIN}\n" if is_bold else f"{titles}\n")
    for text in others:
        verbatim(text)
    return shown


class ProgressLines:
    """Prints the steps of a long operation on standard error, one line each; at a terminal with a moving percentage.

    Leaves out the last step in Ollama's API, "success": the command says so itself.
    """

    def __init__(self) -> None:
        self._step = ""

    def show(self, step: str, completed: int = 0, total: int = 0) -> None:
        moves = has_watcher() and not is_dumb_terminal()
        step = re.sub(DIGEST, r"\1", one_line(step))
        if step == SUCCESS:
            return
        if step != self._step:
            self.end()
            aside(step)
        elif not moves:
            return
        if total and moves:
            percent = f" {100 * completed // total} %"
            shown = step[: (terminal_width(sys.stderr) or NARROW) - len(percent) - 1]
            controlling(f"\r{shown}{percent}", sys.stderr)
        self._step = step

    def end(self) -> None:
        """End the line of the last step."""
        if self._step:
            aside("\n")
        self._step = ""


@contextmanager
def waiting(reason: str) -> Iterator[None]:
    """At a terminal, show `reason` while the block takes longer than a second."""
    import threading

    shown = threading.Event()

    def show() -> None:
        if not is_dumb_terminal():
            aside(one_line(f"({reason}…)")[: (columns() or NARROW) - 1])
            shown.set()

    timer = threading.Timer(1.0, show)
    timer.daemon = True
    if has_watcher():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident:
            timer.join()
        if shown.is_set():
            controlling("\r\x1b[K", sys.stderr)
