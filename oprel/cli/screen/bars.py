"""Progress bars for downloads at a terminal, one line per file."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from oprel.utils.text import one_line

OTHER_COLUMNS = 38  # the width of sizes, speed and remaining time
WIDEST_BAR, NARROWEST_BAR = 20, 6
SHORTEST_NAME = 16
SPEED_SECONDS = 5.0  # the period over which the speed is averaged


class Bars:
    """A context manager: the bars move while it is open and keep their last state afterwards."""

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        space = console.width - OTHER_COLUMNS
        bar = max(NARROWEST_BAR, min(WIDEST_BAR, space // 2))
        self._longest_name = max(SHORTEST_NAME, space - bar)
        self._progress = _ProgressWithStep(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=bar),
            DownloadColumn(),
            _SpeedIfMeasured(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=console,
            speed_estimate_period=SPEED_SECONDS,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.show_step("")
        self._progress.stop()

    def file(self, name: str, completed: int, total: int) -> None:
        """Show how many bytes of a file have arrived. The first call does not count towards the speed."""
        name = one_line(name)
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(self._short(name), total=total, completed=completed)
        if self._progress.step and completed > self._progress.tasks[self._tasks[name]].completed:
            self._progress.show_step("")  # it waited, and goes on
        self._progress.update(self._tasks[name], completed=completed)

    def step(self, text: str) -> None:
        """Show a step that concerns no single file below the bars, until the next one or the end."""
        self._progress.show_step(one_line(text))

    def _short(self, name: str) -> str:
        """The end of a long name, which says the quantization and the part."""
        return name if len(name) <= self._longest_name else f"…{name[1 - self._longest_name :]}"


class _SpeedIfMeasured(TransferSpeedColumn):
    """Empty for a file that came too quickly to measure its speed."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.finished_speed or task.speed else Text()


class _ProgressWithStep(Progress):
    """Bars, and below them what is being done to all files."""

    step = ""

    def show_step(self, text: str) -> None:
        self.step = text
        self.refresh()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.step:
            yield Text(self.step)
