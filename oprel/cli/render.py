"""Everything the command line prints: tables, streamed text, errors. The only `print` of the package."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from oprel.core.exceptions import OprelError

if TYPE_CHECKING:
    from oprel.api_models import Wire


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
    """Columns under upper-case titles; whole cells when the output is no terminal, so that machines can read them."""
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for row in rows:
        drawn.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=1000, color_system=None)
    with console.capture() as captured:
        console.print(drawn)
    for text in captured.get().splitlines():
        line(text.rstrip())
