"""Everything the command line prints: tables, streamed text, errors. The only module that calls `print`."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING

from oprel.core.config import is_dumb_terminal
from oprel.core.exceptions import OprelError, ValidationError

if TYPE_CHECKING:
    from oprel.api_models import Wire

WIDTH, NARROW = 1000, 80  # columns
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
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
    from textwrap import fill

    indent = " " * (len(text) - len(text.lstrip()))
    return fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def aside(text: str) -> None:
    """Print a piece of streamed text on standard error."""
    print(text, end="", file=sys.stderr, flush=True)


def columns() -> int:
    """The terminal's width; 0 when the output is not a terminal, or one that cannot move its cursor."""
    if not sys.stdout.isatty() or is_dumb_terminal():
        return 0
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
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
    note(f"Error: {problem.message}")
    for step in problem.resolution_steps:
        note(f"  {step}")


def json(value: "Wire") -> None:
    line(value.model_dump_json(indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns under titles, every cell in full: a terminal wraps a long line."""
    cells = ((cell.expandtabs().splitlines() or [""] for cell in row) for row in rows)
    lines = [tuple(columns), *(part for row in cells for part in zip_longest(*row, fillvalue=""))]
    widths = [max(map(_width, column)) + GAP for column in zip(*lines, strict=True)]
    titles, *others = (
        "".join(cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in lines
    )
    line(f"{BOLD}{titles}{PLAIN}" if sys.stdout.isatty() and not is_dumb_terminal() else titles)
    for text in others:
        line(text)


def _width(text: str) -> int:
    """The columns that `text` takes at a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


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
    import threading

    shown = threading.Event()

    def show() -> None:
        if not is_dumb_terminal():
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
