"""Progress bars for downloads at a terminal, one line per file."""

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

OTHER_COLUMNS = 58  # the width of the bar, sizes, speed and remaining time
SHORTEST_NAME = 22
SPEED_SECONDS = 5.0  # the period over which the speed is averaged


class Bars:
    """A context manager: the bars move while it is open and keep their last state afterwards."""

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
        """Show how many bytes of a file have arrived. The first call does not count towards the speed."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(self._short(name), total=total, completed=completed)
        self._progress.update(self._tasks[name], completed=completed)

    def step(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(Text(text))

    def _short(self, name: str) -> str:
        """The end of a long name, which says the quantization and the part."""
        width = max(SHORTEST_NAME, self._console.width - OTHER_COLUMNS)
        return name if len(name) <= width else f"…{name[1 - width :]}"
