"""Records when each model was last used, across restarts, for `oprel cache ls`."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from oprel.server.models.installed_model import InstalledModel
from oprel.utils.files import read_own, write_atomically

logger = logging.getLogger(__name__)

WRITE_INTERVAL = 60.0  # s
MOST = 10_000  # models that are remembered


class LastUse:
    """Owns the file `last-used.json`, which maps paths of weights to times in seconds since 1970.

    A file that is gone is forgotten, but not one that `is_away` with its disk.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        is_away: Callable[[Path], object] = lambda path: False,
    ) -> None:
        self._path = path
        self._clock, self._is_away = clock, is_away
        self._times = _read(path)
        self._written = 0.0

    def note(self, model: InstalledModel) -> None:
        """Record a use of the model now. The file is written at most once a minute, and by `close`."""
        now = self._times[str(model.weights)] = self._clock()
        if now - self._written >= WRITE_INTERVAL:
            self.close()

    def of(self, weights: Path) -> float | None:
        return self._times.get(str(weights))

    def close(self) -> None:
        self._written = self._clock()
        latest = sorted(self._times.items(), key=lambda item: item[1])[-MOST:]
        kept = {path: moment for path, moment in latest if Path(path).exists() or self._is_away(Path(path))}
        try:
            write_atomically(self._path, json.dumps(kept).encode())
        except OSError as error:  # an answer must not fail because of this
            logger.warning("%s cannot be written: %s", self._path, error.strerror)


def parsed(content: bytes) -> dict[str, float]:
    """Raises ValueError, TypeError or AttributeError for anything else."""
    return {str(key): float(value) for key, value in json.loads(content).items()}


def _read(path: Path) -> dict[str, float]:
    try:
        return parsed(read_own(path))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
