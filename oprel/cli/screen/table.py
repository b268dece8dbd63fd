"""Tables that fit their terminal: the columns that matter least are left out, long text wraps in its column. Pure.

>>> drawn([Column("NAME", shorter=shorter_name), Column("ID", rank=1)], [["tiny:latest", "c0ffee"]], 10).lines
['NAME', 'tiny']
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import NamedTuple

from oprel.utils.text import one_line

OUTSIDE_COMMANDS = r" (?=(?:[^`]*`[^`]*`)*[^`]*\Z)"  # a blank that is not in `backticks`; compiled when needed
GAP = 3  # blanks between two columns
NARROWEST_TEXT = 15  # columns that wrapped text keeps; before it gets less, other columns are left out


class Column(NamedTuple):
    """A column of a table.

    `rank`: 0 for a column that always stays; of the others the one with the highest rank is left out first. `shorter`
    returns a shorter form of a cell that works in its place when pasted. `wraps`: its cells are text, which may take
    several lines.
    """

    title: str
    rank: int = 0
    shorter: Callable[[str], str] | None = None
    wraps: bool = False


class Drawing(NamedTuple):
    """The titles of the columns that a table shows, and its lines, that of the titles first."""

    titles: list[str]
    lines: list[str]


class ColumnChoice(NamedTuple):
    """What the user wants to see: these columns, or with `wide` all of them in full; else what fits."""

    titles: tuple[str, ...] = ()
    wide: bool = False


WHAT_FITS = ColumnChoice()


def named(columns: Sequence[Column | str]) -> list[Column]:
    return [Column(column) if isinstance(column, str) else column for column in columns]


def argument(column: Column) -> str:
    """How a column is called on the command line.

    >>> argument(Column("LAST USE"))
    'last-use'
    """
    return column.title.lower().replace(" ", "-")


def drawn(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], width: int, choice: ColumnChoice = WHAT_FITS
) -> Drawing:
    """`width` is the terminal's; with 0, for a file or a pipe, everything is in full."""
    table = _Table(columns, [[one_line(cell) for cell in row] for row in rows])
    if choice.titles:
        table = table.only([[argument(column) for column in columns].index(title) for title in choice.titles])
    if not width or choice.wide:
        return table.drawing(table.widths)
    return _fitted(table, width, may_drop=not choice.titles)


def _fitted(table: "_Table", width: int, *, may_drop: bool) -> Drawing:
    if sum(table.widths) + table.gaps <= width:
        return table.drawing(table.widths)
    table = table.shortened()
    while may_drop and table.least() > width and (weakest := table.weakest()) is not None:
        table = table.only([index for index in range(len(table.columns)) if index != weakest])
    return table.drawing(table.widths_within(width))


class _Table:
    def __init__(self, columns: Sequence[Column], rows: list[list[str]]) -> None:
        self.columns = columns
        self.rows = rows

    @property
    def gaps(self) -> int:
        return GAP * (len(self.columns) - 1)

    @property
    def widths(self) -> list[int]:
        """What each column needs to show all of its cells in full."""
        titles = [column.title for column in self.columns]
        return [max(map(cell_width, cells)) for cells in zip(titles, *self.rows, strict=True)]

    def only(self, indices: Sequence[int]) -> "_Table":
        return _Table([self.columns[index] for index in indices], [[row[at] for at in indices] for row in self.rows])

    def weakest(self) -> int | None:
        """The column to leave out next, if one may be."""
        ranks = [column.rank for column in self.columns]
        return ranks.index(max(ranks)) if any(ranks) else None

    def shortened(self) -> "_Table":
        """With the shorter form of each cell, unless two cells would become equal."""
        columns = [self._shorter(index, column) for index, column in enumerate(self.columns)]
        return _Table(self.columns, [[*cells] for cells in zip(*columns, strict=True)])

    def _shorter(self, index: int, column: Column) -> list[str]:
        cells = [row[index] for row in self.rows]
        if column.shorter is None:
            return cells
        short = [column.shorter(cell) for cell in cells]
        return [new if short.count(new) == cells.count(cell) else cell for cell, new in zip(cells, short, strict=True)]

    def least(self) -> int:
        """The width below which a column has to go."""
        least = (self.narrowest(at) if column.wraps else self.widths[at] for at, column in enumerate(self.columns))
        return sum(least) + self.gaps

    def narrowest(self, index: int) -> int:
        """The least width of a column: of one that wraps, that of its longest word; else of its title."""
        column, width = self.columns[index], cell_width(self.columns[index].title)
        if not column.wraps:
            return width
        words = (cell_width(word) for row in self.rows for word in row[index].split())
        return min(self.widths[index], max(NARROWEST_TEXT, width, *words))

    def widths_within(self, width: int) -> list[int]:
        """The widths of columns in a terminal: text gives up room first, the widest before others.

        Then the first column does, and a cell that is longer than its column takes a line of its own.
        """
        widths, excess = self.widths, sum(self.widths) + self.gaps - width
        for index in sorted(range(len(widths)), key=lambda index: (not self.columns[index].wraps, -widths[index])):
            if self.columns[index].wraps or index == 0:
                given_up = max(0, min(excess, widths[index] - self.narrowest(index)))
                widths[index] -= given_up
                excess -= given_up
        return widths

    def drawing(self, widths: Sequence[int]) -> Drawing:
        titles = [column.title for column in self.columns]
        return Drawing(titles, [line for row in (titles, *self.rows) for line in self._drawn_row(row, widths)])

    def _drawn_row(self, row: Sequence[str], widths: Sequence[int]) -> list[str]:
        """A row: one line, or more where text wraps or the first cell does not fit into its column."""
        own_line = [row[0]] if cell_width(row[0]) > widths[0] and not self.columns[0].wraps else []
        cells = [
            wrapped(cell, width) if column.wraps else [cell]
            for cell, width, column in zip(["", *row[1:]] if own_line else row, widths, self.columns, strict=True)
        ]
        parts = (
            [padded(part, width) for part, width in zip(line, widths, strict=True)]
            for line in zip_longest(*cells, fillvalue="")
        )
        lines = ((" " * GAP).join(line).rstrip() for line in parts)
        return [*own_line, *(line for line in lines if line or not own_line)]


def padded(text: str, width: int) -> str:
    return text + " " * (width - cell_width(text))


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The lines of a text, broken between words, but not within `commands`; a word longer than a line stays whole.

    Every line but the first begins with `indent`.

    >>> wrapped("  one two three", 9, "    ")
    ['  one two', '    three']
    """
    if cell_width(text) <= width:
        return [text]
    first, *words = _words(text.lstrip(), width - cell_width(indent))
    done, line = list[str](), text[: len(text) - len(text.lstrip())] + first
    for word in words:
        if cell_width(line) + 1 + cell_width(word) > width:
            done.append(line.rstrip())
            line = indent + word
        else:
            line = f"{line} {word}"
    return [*done, line]


def _words(text: str, width: int) -> list[str]:
    """What may not be broken: words, and commands that are no longer than a line."""
    spans = re.split(OUTSIDE_COMMANDS, text)
    return [word for span in spans for word in ([span] if cell_width(span) <= width else span.split(" "))]


def cell_width(text: str) -> int:
    """The columns that `text` takes at a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shorter_name(name: str) -> str:
    """A shorter name of the same installed model.

    >>> shorter_name("tiny:latest"), shorter_name("hf.co/Qwen/Qwen3-8B-GGUF:Q8_0")
    ('tiny', 'Qwen/Qwen3-8B-GGUF:Q8_0')
    """
    if name.startswith("/"):
        return shorter_path(name)
    short = name.removesuffix(":latest")
    repository = short.removeprefix("hf.co/")
    return repository if repository.count("/") == 1 else short  # without an owner it could be a model of a registry


def shorter_path(path: str) -> str:
    """A path as a shell understands it: from this folder or from the home folder, if that is shorter."""
    shorter = [path]
    with suppress(OSError):  # this folder was deleted
        shorter += _within(path, os.getcwd(), "./")
    return min([*shorter, *_within(path, os.path.expanduser("~"), "~/")], key=len)


def _within(path: str, folder: str, prefix: str) -> list[str]:
    folder = folder.rstrip("/") + "/"
    return [prefix + path.removeprefix(folder)] if path.startswith(folder) and len(folder) > 1 else []
