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
from rich.text import Text

OTHER_COLUMNS = 58  # what the bar, the sizes, the speed and the time left take
SHORTEST_NAME = 22
SPEED_SECONDS = 5.0  # over which the speed is the mean


class Bars:
    """A context: the bars move while it is open, and stay as they were at its end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            speed_estimate_period=SPEED_SECONDS,
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
            self._tasks[name] = self._progress.add_task(self._short(name), total=total, completed=completed)
        self._progress.update(self._tasks[name], completed=completed)

    def step(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(Text(text))

    def _short(self, name: str) -> str:
        """The end of a name that is too long: there stands which part of which quant it is."""
        room = max(SHORTEST_NAME, self._console.width - OTHER_COLUMNS)
        return name if len(name) <= room else f"…{name[1 - room :]}"
