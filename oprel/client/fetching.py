"""Reports the download of a model on its first use."""

import logging
from collections.abc import Callable

from oprel.api_models import LoadResponse
from oprel.utils.text import human_size

logger = logging.getLogger(__name__)

FETCHING = "fetching"  # the state of a model that is being downloaded
LOGGED_PERCENT = 10  # between two lines of the log about one file

Progress = Callable[[LoadResponse], None]


class FetchReport:
    """Logs the steps of a download, and passes each one to the caller's `progress`."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._logged = ""

    def step(self, step: LoadResponse) -> None:
        if step.state == FETCHING and self._progress:
            self._progress(step)
        line = _line(step) if step.state == FETCHING else self._logged and f"{step.model}: ready"
        if line and line != self._logged:
            self._logged = line
            logger.info("%s", line)


def _line(step: LoadResponse) -> str:
    """The step as a line of the log, the same until it has progressed by so many percent.

    >>> _line(LoadResponse(model="m", state="fetching", status="pulling 0a1b", total=2000, completed=999))
    'm: pulling 0a1b, 40% of 2.0 KB'
    """
    if not step.total:
        return f"{step.model}: {step.status}"
    percent = 100 * (step.completed or 0) // step.total
    return f"{step.model}: {step.status}, {percent - percent % LOGGED_PERCENT}% of {human_size(step.total)}"
