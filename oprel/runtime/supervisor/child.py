"""One process of an engine, from spawn to exit: its log, its record on disk, its memory, and why it ended."""

import asyncio
import logging
import shutil
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oprel.core.configuration.environment import child_environment
from oprel.core.exceptions import BackendError
from oprel.runtime.confinement.limits import EngineLimits
from oprel.runtime.exits import Exit, classify_exit, outgrew
from oprel.runtime.supervisor import processes, procstat, records
from oprel.runtime.supervisor.log import EngineLog
from oprel.utils.files import make_private
from oprel.utils.process import systems
from oprel.utils.process.clock import Clock

logger = logging.getLogger(__name__)

LINES_KEPT = 200  # of the log, for the reason of an exit
EXEC_INTERVAL = 0.005  # s between looks for the command line of a new process
LOG_DRAIN = 1.0  # s to wait for the last lines after an exit
MEMORY_INTERVAL, MEMORY_SAMPLES = 1.0, 120  # s between samples; how many are kept
NOWHERE = Path("/")  # the working folder of others: the user's own may hold files that Python would import
# Signals that stop a process, in order, and how many seconds each gets.
STOP_STEPS = ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (systems.KILL, 5.0))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An exit of an engine that oprel did not request. Times in seconds; `memory` is (seconds since the start, bytes).

    `served` is how long it had been ready.
    """

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
    """Where an engine runs: the `socket` that it listens on, and additions to its environment.

    `folder`, if given, is its working folder and takes its temporary files, and a tether kills its children with it.
    `limits` are what it may have. `texts` are files that it reads at its start. All of them are made anew for each
    process.
    """

    socket: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    limits: EngineLimits = EngineLimits()
    texts: Mapping[Path, str] = field(default_factory=dict)


class ChildProcess:
    """A process group started by `start_child`. The task `ended` returns its exit as soon as it happens."""

    def __init__(
        self,
        spawned: processes.SpawnedProcess,
        command: Sequence[str],
        run_dir: RunDir,
        log: EngineLog,
        *,
        on_exit: Callable[["ChildProcess", Exit], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pid = spawned.process.pid
        self.command = tuple(command)
        self.log = log
        self.is_stopping = False
        self.memory: deque[tuple[float, int]] = deque(maxlen=MEMORY_SAMPLES)
        self._spawned = spawned
        self._run_dir = run_dir
        self._on_exit = on_exit
        self._clock = clock
        self._started_at = clock()
        self._verdict: Exit | None = None
        self._record: Path | None = None
        self._lost_files = False
        self._sampling: asyncio.Task[None] | None = None
        self._sampled_at = -MEMORY_INTERVAL
        self.ended = asyncio.create_task(self._watch(), name=f"watch {self.pid}")

    @property
    def has_exited(self) -> bool:
        return self._spawned.process.returncode is not None

    @property
    def uptime(self) -> float:
        return self._clock() - self._started_at

    @property
    def lost_files(self) -> bool:
        """Its files in the run folder were removed, as by a cleaner: perhaps its socket too."""
        return self._lost_files or (self._record is not None and not self._record.exists())

    async def stop(self) -> signal.Signals | None:
        """Stop it with ever stronger signals, and return the one that worked. Raises BackendError if none does."""
        self.is_stopping = True
        if self.ended.done():
            return None
        for step, deadline in STOP_STEPS:
            processes.signal_group(self.pid, step)
            await Clock().wait(self.ended, deadline)
            if self.ended.done():
                return step
            logger.warning("engine %s did not end within %.0f s of %s", self.pid, deadline, step.name)
        raise BackendError(f"the engine (pid {self.pid}) cannot be killed")

    async def kill(self) -> None:
        """Kill it, and wait for its exit."""
        if not self.ended.done():
            self.is_stopping = self._verdict is None
            processes.signal_group(self.pid, systems.KILL)
            await asyncio.wait({self.ended}, timeout=STOP_STEPS[-1][1])

    def kill_as(self, verdict: Exit) -> None:
        """Kill it without a polite signal, and report `verdict` as the reason of its exit."""
        if not self.has_exited:
            logger.error("killing engine %s: %s", self.pid, verdict.detail)
            self._verdict = verdict
            processes.signal_group(self.pid, systems.KILL)

    def bound_memory(self, private: int) -> Exit | None:
        """Kill it if `private` bytes of its own are more than it may have, and return the reason."""
        limits = self._run_dir.limits
        if not limits.is_outgrown(private):
            return None
        verdict = outgrew(private, limits.reserved)
        self.kill_as(verdict)
        return verdict

    def sample_memory(self) -> None:
        """Start to measure its memory, unless the last sample is less than a second old."""
        is_sampling = self._sampling is not None and not self._sampling.done()
        if not is_sampling and self.uptime - self._sampled_at >= MEMORY_INTERVAL:
            self._sampled_at = self.uptime
            self._sampling = asyncio.create_task(self._sample(), name=f"memory {self.pid}")

    async def _sample(self) -> None:
        used = await asyncio.to_thread(procstat.memory, self.pid)  # the kernel walks its page tables, which takes long
        if used:
            self.memory.append((self._sampled_at, used))

    async def _watch(self) -> Exit:
        """Read the log until the exit, then clean up and classify the exit."""
        kills_before = processes.memory_kills()
        self._record = await self._write_record()
        reading = asyncio.create_task(self.log.read(self._spawned.output), name=f"log {self.pid}")
        status = await self._spawned.process.wait()
        self._lost_files = self.lost_files
        record, self._record = self._record, None
        processes.signal_group(self.pid, systems.KILL)  # children that outlived their leader
        await Clock().wait(reading, LOG_DRAIN)
        reading.cancel()
        if self._spawned.group and self._spawned.group.has_killed:
            limits = self._run_dir.limits
            self._verdict = self._verdict or outgrew(limits.memory, limits.reserved)
        self._spawned.close()
        if self._sampling:
            self._sampling.cancel()
        memory_ran_out = processes.memory_kills() > kills_before
        exit = self._verdict or classify_exit(status, self.log.lines[-LINES_KEPT:], memory_ran_out=memory_ran_out)
        if self._run_dir.folder:
            await asyncio.to_thread(_clean, self._run_dir)
        else:  # the next start waits for this: one file is removed faster than a thread starts
            _clean(self._run_dir)
        if record:
            record.unlink(missing_ok=True)
        self._on_exit(self, exit)
        return exit

    async def _write_record(self) -> Path | None:
        """Write its record and return the file; None if the disk refuses it: the engine then runs without."""
        run_dir = self._run_dir
        try:
            while not self.has_exited:
                if path := records.write(run_dir.socket.parent, self.pid, run_dir.folder or run_dir.socket):
                    return path
                await asyncio.sleep(EXEC_INTERVAL)
        except OSError as error:
            logger.warning("cannot write a record of engine %s: %s", self.pid, error)
            self._lost_files = not run_dir.socket.parent.exists()
        return None


async def start_child(
    command: Sequence[str],
    run_dir: RunDir,
    log: EngineLog,
    *,
    on_exit: Callable[[ChildProcess, Exit], None],
    clock: Callable[[], float],
) -> ChildProcess:
    """Start an engine in `run_dir`. `on_exit` is called before `ended` is done. Raises OSError."""
    _prepare(run_dir)
    log.begin()
    environment, tethered = {**child_environment(), **run_dir.environment}, processes.TETHERED
    if run_dir.folder:
        environment["TMPDIR"], tethered = str(run_dir.folder), True
    folder = run_dir.folder or NOWHERE
    spawned = await processes.spawn(command, environment, folder, tethered=tethered, limits=run_dir.limits)
    return ChildProcess(spawned, command, run_dir, log, on_exit=on_exit, clock=clock)


def _prepare(run_dir: RunDir) -> None:
    """Raises OSError."""
    make_private(run_dir.socket.parent)  # cleaners of temporary folders may have removed it
    _clean(run_dir)  # a killed engine leaves its socket, and the next bind would fail
    for path, text in run_dir.texts.items():
        path.write_text(text, encoding="utf-8")
    if run_dir.folder:
        run_dir.folder.mkdir(mode=0o700)


def _clean(run_dir: RunDir) -> None:
    for path in (run_dir.socket, *run_dir.texts):
        path.unlink(missing_ok=True)
    if run_dir.folder:
        shutil.rmtree(run_dir.folder, ignore_errors=True)
