"""How fast a download is at the moment."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 5.0  # s that count
INTERVAL = 0.25  # s between two samples
STALE = 3.0  # s without news after which it is at a standstill


class DownloadSpeed:
    """Bytes per second over the last seconds. `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def note(self, completed: int) -> None:
        """`completed` bytes are there now; fewer than before if the download began again."""
        now = self._clock()
        if self._samples and completed < self._samples[-1][1]:
            self._samples.clear()
        if self._samples and now - self._samples[-1][0] < INTERVAL:
            return
        self._samples.append((now, completed))
        while now - self._samples[0][0] > WINDOW and len(self._samples) > 2:
            self._samples.popleft()

    @property
    def bytes_per_second(self) -> float:
        """0 before there are two samples, and at a standstill."""
        if len(self._samples) < 2 or self._clock() - self._samples[-1][0] > STALE:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began)
