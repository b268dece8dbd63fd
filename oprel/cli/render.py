"""Everything the command line prints: tables, streamed text, errors. The only `print` of the package."""

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from oprel.core.exceptions import OprelError

if TYPE_CHECKING:
    from oprel.api_models import Wire


WIDTH = 1000  # columns


def line(text: str = "") -> None:
    print(text, flush=True)


def piece(text: str) -> None:
    """A part of a streamed answer, shown at once."""
    print(text, end="", flush=True)


def note(text: str) -> None:
    """Something said beside the output proper."""
    print(text, file=sys.stderr, flush=True)


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

    drawn = Table(*columns, box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))  # as it is: a name in brackets is no markup
    # As wide as it takes: a terminal wraps a line that is too long for it, where rich would cut the names.
    console = Console(width=WIDTH, color_system="auto" if sys.stdout.isatty() else None)
    with console.capture() as captured:
        console.print(drawn)
    for text in captured.get().splitlines():
        line(text.rstrip())


@contextmanager
def patience(reason: str) -> Iterator[None]:
    """Say why nothing happens when the block takes longer than a second, to a person at a terminal."""
    timer = threading.Timer(1.0, note, [f"({reason}…)"])
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
