"""What an engine writes: its last lines, for those who look and for those who follow."""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

from oprel.runtime.supervisor import _posix

logger = logging.getLogger(__name__)

LINES = 1000
LISTENING = re.compile(r"listening on (unix|http)")


class EngineLog:
    """The lines of one engine after another. `moved_at` is when the last came, by `clock`."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._clock = clock
        self._lines: deque[str] = deque(maxlen=LINES)
        self._count = 0
        self._news = asyncio.Event()
        self._closed = False
        self.listening = asyncio.Event()  # the engine said that it listens
        self.moved_at = 0.0

    @property
    def lines(self) -> list[str]:
        return list(self._lines)

    def begin(self) -> None:
        """Another engine writes now: what the one before it wrote is forgotten."""
        self._lines.clear()
        self.listening.clear()
        self.moved_at = self._clock()

    async def read(self, output: asyncio.StreamReader) -> None:
        while line := await _posix.read_line(output):
            self.note(line.decode(errors="replace").rstrip())

    def note(self, line: str) -> None:
        self._lines.append(line)
        self._count += 1
        self.moved_at = self._clock()
        logger.debug("%s| %s", self._label, line)
        if LISTENING.search(line):
            self.listening.set()
        self._tell()

    async def follow(self) -> AsyncIterator[str]:
        """The lines there are, then each as it comes, until the log is closed. Who is slow misses the oldest."""
        told = 0
        while True:
            news = self._news
            new = min(self._count - told, len(self._lines))
            told = self._count
            for line in self.lines[len(self._lines) - new :]:
                yield line
            if self._closed and told == self._count:
                return
            if told == self._count:
                await news.wait()

    def close(self) -> None:
        """Nothing more will be written: followers end."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
