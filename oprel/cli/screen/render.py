"""Everything the command line prints: tables, streamed text, errors. The only `print` of the package."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING

from oprel.core.exceptions import OprelError, ValidationError

if TYPE_CHECKING:
    from oprel.api_models import Wire

WIDTH, NARROW = 1000, 80  # columns
GAP = 3  # columns between those of a table


def line(text: str = "") -> None:
    print(text, flush=True)


def piece(text: str) -> None:
    """A part of a streamed answer, shown at once."""
    print(text, end="", flush=True)


def note(text: str) -> None:
    """Something said beside the output proper."""
    width = columns() if has_watcher() else 0
    print("\n".join(_fitted(one, width) for one in text.split("\n")), file=sys.stderr, flush=True)


def _fitted(text: str, width: int) -> str:
    """A line broken between words, where a terminal of this width would break them; as it is for a width of 0."""
    if not width or len(text) <= width:
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    return fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def aside(text: str) -> None:
    """A part of a streamed text that is not the answer."""
    print(text, end="", file=sys.stderr, flush=True)


def columns() -> int:
    """The terminal's width; 0 when the output goes to none, or to one that cannot move its cursor."""
    if not sys.stdout.isatty() or _is_dumb():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except OSError:  # a terminal that does not tell
        return NARROW


def has_colour() -> bool:
    """False where the user wants none (NO_COLOR)."""
    from rich.console import Console

    return not Console().no_color


def has_watcher() -> bool:
    """True when somebody sees what is said beside the output proper."""
    return sys.stderr.isatty()


def agrees(question: str) -> bool:
    """Whether a person says yes. Raises ValidationError where nobody can be asked."""
    if not (sys.stdin and sys.stdin.isatty() and has_watcher()):
        raise ValidationError("nobody can be asked whether this is wanted", "Say --yes.")
    aside(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def error(problem: OprelError) -> None:
    note(f"Error: {problem.message}")
    for step in problem.resolution_steps:
        note(f"  {step}")


def json(value: "Wire") -> None:
    line(value.model_dump_json(indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns under upper-case titles, every cell whole and as it is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # as it is: a name in brackets is no markup
    # As wide as it takes: a terminal wraps a line that is too long for it, where rich would cut the names.
    console = Console(width=WIDTH, color_system="auto" if sys.stdout.isatty() else None)
    with console.capture() as captured:
        console.print(drawn)
    for text in captured.get().splitlines():
        line(text.rstrip())


class ProgressLines:
    """The steps of something long, a line each on standard error; at a terminal their percentages move."""

    def __init__(self) -> None:
        self._step = ""

    def show(self, step: str, completed: int = 0, total: int = 0) -> None:
        if step != self._step:
            self.end()
            aside(step)
        elif not has_watcher():
            return
        if total and has_watcher():
            aside(f"\r{step} {100 * completed // total} %")
        self._step = step

    def end(self) -> None:
        """End the line of the last step."""
        if self._step:
            aside("\n")
        self._step = ""


@contextmanager
def patience(reason: str) -> Iterator[None]:
    """Say why nothing happens while the block takes longer than a second, to a person at a terminal."""
    said = threading.Event()

    def say() -> None:
        if not _is_dumb():
            aside(f"({reason}…)"[: (columns() or NARROW) - 1])
            said.set()

    timer = threading.Timer(1.0, say)
    timer.daemon = True
    if has_watcher():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident:
            timer.join()
        if said.is_set():
            aside("\r\x1b[K")


def _is_dumb() -> bool:
    """True for a terminal that cannot move its cursor."""
    from rich.console import Console

    return Console().is_dumb_terminal
