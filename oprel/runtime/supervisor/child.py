"""One process of an engine, from its spawn to its exit: its log, its record on disk, its memory, why it ended."""

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.config import child_environment
from oprel.core.exceptions import BackendError
from oprel.runtime.exits import Exit, classify_exit
from oprel.runtime.supervisor import _posix, procstat, records
from oprel.runtime.supervisor.log import EngineLog

logger = logging.getLogger(__name__)

LINES_KEPT = 200  # of the log, with an exit
EXEC_INTERVAL = 0.005  # s between looks at a process that has no command line yet
LOG_DRAIN = 1.0  # s for the last lines after an exit
MEMORY_INTERVAL, MEMORY_SAMPLES = 1.0, 120  # s; the last ones
# politely, firmly, surely; s for each
STOP_LADDER = ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True)
class Ended:
    """An engine's end that nobody asked for. `memory` in seconds since its start and bytes; times in seconds."""

    label: str
    exit: Exit
    command: tuple[str, ...]
    binary: str
    log: tuple[str, ...]
    memory: tuple[tuple[float, int], ...]
    uptime: float
    served: float
    pid: int


@dataclass(frozen=True)
class RunDir:
    """Where an engine lives: the `socket` that it listens on, and what is added to its environment.

    With a `folder` it works there, puts its temporary files there, and is tethered: for an engine whose children would
    outlive it.
    """

    socket: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


class ChildProcess:
    """A process group that `begin` started. `ended` is its exit, seen at once."""

    def __init__(
        self,
        child: _posix.Child,
        command: Sequence[str],
        place: RunDir,
        log: EngineLog,
        on_exit: Callable[["ChildProcess", Exit], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pid = child.process.pid
        self.command = tuple(command)
        self.log = log
        self.is_asked_to_end = False
        self.memory: deque[tuple[float, int]] = deque(maxlen=MEMORY_SAMPLES)
        self._child = child
        self._place = place
        self._on_exit = on_exit
        self._clock = clock
        self._began = clock()
        self._verdict: Exit | None = None
        self._sampling: asyncio.Task[None] | None = None
        self._sampled = -MEMORY_INTERVAL
        self.ended = asyncio.create_task(self._watch(), name=f"watch {self.pid}")

    @property
    def is_over(self) -> bool:
        return self._child.process.returncode is not None

    @property
    def uptime(self) -> float:
        return self._clock() - self._began

    async def end(self) -> signal.Signals | None:
        """Ask it to end, ever less politely; the signal that did it. Raises BackendError when none does."""
        self.is_asked_to_end = True
        if self.ended.done():
            return None
        for step, deadline in STOP_LADDER:
            _posix.signal_group(self.pid, step)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.ended), deadline)
                return step
            logger.warning("engine %s: no end within %.0f s of %s", self.pid, deadline, step.name)
        raise BackendError(f"the engine (pid {self.pid}) cannot be killed")

    async def kill(self) -> None:
        """End it at once."""
        if not self.ended.done():
            self.is_asked_to_end = self._verdict is None
            _posix.signal_group(self.pid, signal.SIGKILL)
            await asyncio.wait({self.ended}, timeout=STOP_LADDER[-1][1])

    def kill_as(self, verdict: Exit) -> None:
        """Kill it, and let `verdict` be why it ended: one that hangs takes no polite signal."""
        if not self.is_over:
            logger.error("engine %s is killed: %s", self.pid, verdict.detail)
            self._verdict = verdict
            _posix.signal_group(self.pid, signal.SIGKILL)

    def sample_memory(self) -> None:
        """Take note of its memory soon, unless that was done within the last second."""
        is_sampling = self._sampling is not None and not self._sampling.done()
        if not is_sampling and self.uptime - self._sampled >= MEMORY_INTERVAL:
            self._sampled = self.uptime
            self._sampling = asyncio.create_task(self._sample(), name=f"memory {self.pid}")

    async def _sample(self) -> None:
        used = await asyncio.to_thread(procstat.memory, self.pid)  # the kernel walks its page tables for that
        if used:
            self.memory.append((self._sampled, used))

    async def _watch(self) -> Exit:
        """Follow the log until the exit."""
        kills_before = _posix.memory_kills()
        record = await self._recorded()
        reading = asyncio.create_task(self.log.read(self._child.output), name=f"log {self.pid}")
        status = await self._child.process.wait()
        _posix.signal_group(self.pid, signal.SIGKILL)  # children that outlived their leader
        await asyncio.wait({reading}, timeout=LOG_DRAIN)
        reading.cancel()
        self._child.close()
        if self._sampling:
            self._sampling.cancel()
        memory_ran_out = _posix.memory_kills() > kills_before
        seen = classify_exit(status, self.log.lines[-LINES_KEPT:], memory_ran_out=memory_ran_out)
        await asyncio.to_thread(_clean, self._place)
        if record:
            record.unlink(missing_ok=True)
        self._on_exit(self, self._verdict or seen)
        return self._verdict or seen

    async def _recorded(self) -> Path | None:
        """Its file in the run folder; None where the disk takes none: then it runs without."""
        try:
            while not self.is_over:
                if path := records.write(self._place.socket.parent, self.pid, self._place.folder or self._place.socket):
                    return path
                await asyncio.sleep(EXEC_INTERVAL)
        except OSError as error:
            logger.warning("no record of engine %s: %s", self.pid, error)
        return None


async def begin(
    command: Sequence[str],
    place: RunDir,
    log: EngineLog,
    on_exit: Callable[[ChildProcess, Exit], None],
    clock: Callable[[], float],
) -> ChildProcess:
    """Start an engine there. `on_exit` is called before `ended` is done. Raises OSError."""
    _clean(place)  # a killed engine leaves its socket, and the next bind would fail
    log.begin()
    environment, tethered = {**child_environment(), **place.environment}, _posix.TETHERED
    if place.folder:
        place.folder.mkdir(mode=0o700)
        environment["TMPDIR"], tethered = str(place.folder), True
    child = await _posix.spawn(command, environment, place.folder, tethered=tethered)
    return ChildProcess(child, command, place, log, on_exit, clock)


def _clean(place: RunDir) -> None:
    place.socket.unlink(missing_ok=True)
    if place.folder:
        shutil.rmtree(place.folder, ignore_errors=True)
