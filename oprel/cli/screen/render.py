"""Everything the command line prints: tables, streamed text, errors. The only module that calls `print`."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING

from oprel.core.exceptions import OprelError, ValidationError

if TYPE_CHECKING:
    from oprel.api_models import Wire

WIDTH, NARROW = 1000, 80  # columns
GAP = 3  # blanks between the columns of a table


def line(text: str = "") -> None:
    print(text, flush=True)


def piece(text: str) -> None:
    """Print a piece of a streamed answer."""
    print(text, end="", flush=True)


def note(text: str) -> None:
    """Print a message on standard error, beside the output proper."""
    width = columns() if has_watcher() else 0
    print("\n".join(_wrapped(part, width) for part in text.split("\n")), file=sys.stderr, flush=True)


def _wrapped(text: str, width: int) -> str:
    """A line wrapped between words at `width`; unchanged for a width of 0."""
    if not width or len(text) <= width:
        return text
    indent = " " * (len(text) - len(text.lstrip()))
    return fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def aside(text: str) -> None:
    """Print a piece of streamed text on standard error."""
    print(text, end="", file=sys.stderr, flush=True)


def columns() -> int:
    """The terminal's width; 0 when the output is not a terminal, or one that cannot move its cursor."""
    if not sys.stdout.isatty() or _is_dumb():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except OSError:  # a terminal that does not report its size
        return NARROW


def has_colour() -> bool:
    """False if the user disabled colours (NO_COLOR)."""
    from rich.console import Console

    return not Console().no_color


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
    note(f"Error: {problem.message}")
    for step in problem.resolution_steps:
        note(f"  {step}")


def json(value: "Wire") -> None:
    line(value.model_dump_json(indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under titles, every cell in full."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # literally: a name in brackets is not markup
    # Wide enough for every line: a terminal wraps a long line, where rich would cut the names.
    console = Console(width=WIDTH, color_system="auto" if sys.stdout.isatty() else None)
    with console.capture() as captured:
        console.print(drawn)
    for text in captured.get().splitlines():
        line(text.rstrip())


def visible_columns(
    titles: Sequence[str], rows: Sequence[Mapping[str, str]], leave_first: Sequence[str], width: int
) -> list[str]:
    """The titles of the columns that fit into `width`. Those in `leave_first` are left out, the first of them first.

    >>> visible_columns(["NAME", "SIZE"], [{"NAME": "tiny", "SIZE": "9 B"}], ["SIZE"], 10)
    ['NAME']
    """
    titles = list(titles)
    lengths = {title: max(len(title), *(len(row.get(title, "")) for row in rows), 0) for title in titles}
    for title in leave_first:
        if sum(lengths[column] + GAP for column in titles) - GAP <= width:
            break
        titles.remove(title)
    return titles


class ProgressLines:
    """Prints the steps of a long operation on standard error, one line each; at a terminal with a moving percentage."""

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
def waiting(reason: str) -> Iterator[None]:
    """At a terminal, show `reason` while the block takes longer than a second."""
    shown = threading.Event()

    def show() -> None:
        if not _is_dumb():
            aside(f"({reason}…)"[: (columns() or NARROW) - 1])
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
            aside("\r\x1b[K")


def _is_dumb() -> bool:
    """True for a terminal that cannot move its cursor."""
    from rich.console import Console

    return Console().is_dumb_terminal
