"""The last lines of an engine's log, to read or to follow."""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

logger = logging.getLogger(__name__)

LINES = 1000
LISTENING = re.compile(r"listening on (unix|http)")


class EngineLog:
    """The lines of an engine, across its restarts. `moved_at` is when the last one arrived, by `clock`."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._clock = clock
        self._lines: deque[str] = deque(maxlen=LINES)
        self._count = 0
        self._news = asyncio.Event()
        self._closed = False
        self.listening = asyncio.Event()  # set once the engine has logged that it listens
        self.moved_at = 0.0

    @property
    def lines(self) -> list[str]:
        return list(self._lines)

    def begin(self) -> None:
        """A new process writes from now on: forget the lines of the previous one."""
        self._lines.clear()
        self.listening.clear()
        self.moved_at = self._clock()

    async def read(self, output: asyncio.StreamReader) -> None:
        while line := await _next_line(output):
            self.note(line.decode(errors="replace").rstrip())

    def note(self, line: str) -> None:
        self._lines.append(line)
        self._count += 1
        self.moved_at = self._clock()
        logger.debug("%s| %s", self._label, line)
        if LISTENING.search(line):
            self.listening.set()
        self._wake()

    async def follow(self) -> AsyncIterator[str]:
        """The present lines, then each new one, until the log is closed. A slow reader misses the oldest lines."""
        sent = 0
        while True:
            news = self._news
            new = min(self._count - sent, len(self._lines))
            sent = self._count
            for line in self.lines[len(self._lines) - new :]:
                yield line
            if self._closed and sent == self._count:
                return
            if sent == self._count:
                await news.wait()

    def close(self) -> None:
        """End the followers: no more lines will come."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


async def _next_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or a piece of one that is too long; b"" at the end."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(error.consumed)
