"""Bars of files that arrive, one line each, at a terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

SPEED_SECONDS = 5.0  # over which the speed is the mean


class Bars:
    """A context: the bars move while it is open, and stay as they were at its end."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console or Console(stderr=True),
            speed_estimate_period=SPEED_SECONDS,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def file(self, name: str, completed: int, total: int) -> None:
        """So many bytes of a file are here. What was here before counts in no speed."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, completed=completed)
        self._progress.update(self._tasks[name], completed=completed)

    def step(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(Text(text))
