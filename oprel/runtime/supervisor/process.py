"""One supervised engine: its state, the start that all waiting requests share, its log, its end.

    STOPPED ──▶ STARTING ──▶ READY ──▶ DRAINING ──▶ STOPPED
                   │           │          ▲
                   ├───────────┼──────────┘  (stop)
                   └──▶ CRASHED ◀┘ ──▶ STARTING, or BACKING_OFF ──▶ STARTING, or BROKEN (next ensure_ready)

`restarts` decides what may follow a crash; each OS process is a `ChildProcess`; `watchdog` detects hangs.
`EngineProcess` owns the state. Callers never act on it: they call `ensure_ready()` and `stop()`, and wait.
"""

import asyncio
import contextlib
import logging
import random
import signal
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from oprel.core.configuration import installation
from oprel.core.exceptions import BackendStartError, EngineBrokenError, ShuttingDownError
from oprel.runtime import restarts
from oprel.runtime.binaries.engine_binaries import Binary, EngineBinaries
from oprel.runtime.engine import EngineState
from oprel.runtime.exits import SOCKET_LOST, Exit, Restart, declared
from oprel.runtime.http import ConnectionBroken
from oprel.runtime.restarts import End, History
from oprel.runtime.supervisor import loading, procstat
from oprel.runtime.supervisor.child import LINES_KEPT, ChildProcess, Ended, start_child
from oprel.runtime.supervisor.hang_detector import Pace
from oprel.runtime.supervisor.launch import Launch
from oprel.runtime.supervisor.log import EngineLog
from oprel.runtime.supervisor.watchdog import Watchdog, WatchedWork
from oprel.utils.process.clock import Clock

logger = logging.getLogger(__name__)

LINES_SHOWN = 20
HEALTH_SECONDS = 10.0  # for an answer of /health
MOST_REPEATS = 3  # of a start whose files in the run folder are removed meanwhile

DOWN = frozenset({EngineState.CRASHED, EngineState.BROKEN})  # no process, although oprel did not stop it

TRANSITIONS: dict[EngineState, frozenset[EngineState]] = {
    EngineState.STOPPED: frozenset({EngineState.STARTING, EngineState.BACKING_OFF, EngineState.BROKEN}),
    EngineState.STARTING: frozenset({EngineState.READY, EngineState.DRAINING, EngineState.CRASHED}),
    EngineState.READY: frozenset({EngineState.DRAINING, EngineState.CRASHED}),
    EngineState.DRAINING: frozenset({EngineState.STOPPED}),
    EngineState.CRASHED: frozenset(
        {EngineState.STARTING, EngineState.BACKING_OFF, EngineState.BROKEN, EngineState.STOPPED}
    ),
    EngineState.BACKING_OFF: frozenset({EngineState.STARTING, EngineState.DRAINING}),
    EngineState.BROKEN: frozenset({EngineState.STARTING, EngineState.BACKING_OFF, EngineState.STOPPED}),
}


class EngineProcess:
    """Supervises one engine. All methods belong to the event loop's thread.

    The next start uses `launch`. `on_end` is called for each exit that oprel did not request, including failed starts
    and hangs; it must not raise.
    """

    def __init__(
        self,
        launch: Launch,
        binaries: EngineBinaries,
        *,
        clock: Clock | None = None,
        history: History | None = None,
        pace: Pace | None = None,
        on_end: Callable[[Ended], None] | None = None,
    ) -> None:
        self.launch = launch
        self._history = history or History()
        self._on_end = on_end
        self._clock = clock = clock or Clock()
        self._watchdog = Watchdog(launch.stall_timeout, pace or Pace(), clock)
        self._child: ChildProcess | None = None
        self._ready_since = 0.0
        self._binaries = binaries
        self._state = EngineState.STOPPED
        self._binary: Binary | None = None
        self._log = EngineLog(launch.label, clock)
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[signal.Signals | None] | None = None
        self._last_exit: Exit | None = None
        self._closed = False
        self._starts = 0
        self.load_seconds = 0.0  # from the last start until it was ready
        self.http = launch.client(_ignore, lambda: None)

    @property
    def state(self) -> EngineState:
        return self._state

    @property
    def starts(self) -> int:
        """How often the engine was started. The number changes with each new process."""
        return self._starts

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and not self._child.has_exited else None

    @property
    def binary(self) -> Binary | None:
        return self._binary

    @property
    def address(self) -> str:
        return self.launch.address

    @property
    def last_exit(self) -> Exit | None:
        return self._last_exit

    @property
    def log(self) -> list[str]:
        return self._log.lines

    def follow(self) -> AsyncIterator[str]:
        """The log's lines, then each new line, across restarts, until `close()`."""
        return self._log.follow()

    @property
    def command(self) -> tuple[str, ...]:
        """The command of the last start."""
        return self._child.command if self._child else ()

    @property
    def memory_timeline(self) -> tuple[tuple[float, int], ...]:
        """Samples (seconds since the last start, bytes of the process group), taken while it loads or works."""
        return tuple(self._child.memory) if self._child else ()

    @property
    def memory_bytes(self) -> int:
        """The last sample; 0 while it is down."""
        return self._child.memory[-1][1] if self._child and self.pid and self._child.memory else 0

    def resident_bytes(self) -> tuple[int, int]:
        """What the process has of the machine's memory now, and the most that it has had."""
        return procstat.resident(self.pid) if self.pid else (0, 0)

    @property
    def served_seconds(self) -> float:
        """How long it has been ready."""
        return self._clock() - self._ready_since if self._state is EngineState.READY else 0.0

    def at_work(self, about_tokens: int, extra_seconds: float = 0.0) -> contextlib.AbstractContextManager[WatchedWork]:
        """Inside the block a request is in the engine, which is killed if it makes no progress.

        `about_tokens` is an upper estimate of the prompt's length. `extra_seconds` are granted until the first token,
        for work that the engine does not report, such as images.
        """
        return self._watchdog.at_work(about_tokens, extra_seconds)

    async def ensure_ready(self) -> None:
        """Return once the engine answers; concurrent callers share one start, which outlives a caller that leaves.

        Raises BackendStartError or NoEngineError with the reason, and the next call tries again; EngineBrokenError if
        it ended too often for another try.
        """
        while self._state is not EngineState.READY:
            if self._closed:
                raise ShuttingDownError("oprel is shutting down", "Try again in a moment.")
            if self._state is EngineState.DRAINING and self._stopping:
                await asyncio.shield(self._stopping)
                continue
            if self._state is EngineState.STOPPED or self._state in DOWN:
                wait = self._wait_before_start()
                self._enter(EngineState.BACKING_OFF if wait else EngineState.STARTING)
                self._starting = asyncio.create_task(self._start(wait), name=f"start {self.launch.label}")
            assert self._starting is not None
            starting = self._starting  # once that is done, another caller may begin the next start
            await asyncio.wait({starting})
            if starting.cancelled() and not self._closed:
                raise BackendStartError("the engine was stopped while it started", "Ask again.")
            if not starting.cancelled():
                starting.result()

    async def stop(self) -> signal.Signals | None:
        """Stop the engine and return the signal that ended it (None if none ran). Concurrent callers share one stop."""
        if self._state in DOWN:
            self._enter(EngineState.STOPPED)
        if self._state in (EngineState.BACKING_OFF, EngineState.STARTING, EngineState.READY):
            self._enter(EngineState.DRAINING)
            self._stopping = asyncio.create_task(self._stop(), name=f"stop {self.launch.label}")
        if self._state is EngineState.DRAINING and self._stopping:
            return await asyncio.shield(self._stopping)
        return None

    async def close(self) -> None:
        """Stop for good: present and later calls of `ensure_ready` raise ShuttingDownError."""
        self._closed = True
        try:
            await self.stop()
        finally:
            self._log.close()

    def kill_as(self, exit: Exit) -> None:
        """Kill the engine, which goes on but is of no use any more, for the reason `exit`."""
        if self._child:
            self._child.kill_as(exit)

    async def why_it_ended(self, within: float) -> Exit | None:
        """The reason of the last exit. Waits up to `within` seconds: a broken connection precedes the exit."""
        if self._state is EngineState.READY and self._child:
            await self._clock.wait(self._child.ended, within)
        return self._last_exit if self._state is not EngineState.READY else None

    def _enter(self, state: EngineState) -> None:
        assert state in TRANSITIONS[self._state], f"{self._state} -> {state}"
        logger.info("%s: %s -> %s", self.launch.label, self._state.value, state.value)
        self._state = state

    def _wait_before_start(self) -> float:
        """Seconds until the next start. Raises EngineBrokenError if a request should not wait that long."""
        verdict = restarts.judge(self._history.ends, self._clock(), random.uniform(-1, 1))
        if not verdict.refused:
            return verdict.wait
        if self._state is not EngineState.BROKEN:
            self._enter(EngineState.BROKEN)
        raise _broken(self._history.ends[-1].exit, verdict.wait)

    async def _start(self, wait: float) -> None:
        try:
            if wait:
                await self._clock.sleep(wait)
                self._enter(EngineState.STARTING)
            tried = set[Binary]()
            with self._clock.watched():
                while not await self._start_with(*await self._binaries.choose(tried)):
                    tried.update(filter(None, [self._binary]))
            self._enter(EngineState.READY)
        except BaseException as error:
            if self._child:
                await self._child.kill()
            if self._state is EngineState.STARTING:
                lines = "\n".join(f"    {line}" for line in self.log[-LINES_SHOWN:])
                logger.error("%s: %s; the log's last lines:\n%s", self.launch.label, error, lines)
                self._enter(EngineState.CRASHED)
            raise

    async def _start_with(self, binary: Binary, flags: frozenset[str], repeats: int = 0) -> bool:
        """True once ready; False if the program cannot run on this machine and was set aside."""
        self._binary = binary
        child = await self._spawn(binary, flags)
        loaded = loading.until_ready(child, self._healthy, self.launch.load_timeout, self._clock)
        ready = asyncio.create_task(loaded, name=f"ready {self.launch.label}")
        try:
            await asyncio.wait({ready, child.ended}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not child.ended.done():
                ready.result()
                self._binaries.note_start(binary)
                self._ready_since, self.load_seconds = self._clock(), child.uptime
                self._watchdog.begin(child, compiles=self.launch.uses_gpu, rests=self.launch.rests)
                child.sample_memory()
                return True
        finally:
            ready.cancel()
        ended = child.ended.result()
        if ended.restart is Restart.NEXT_BINARY:
            return False
        if child.lost_files and repeats < MOST_REPEATS:
            logger.warning("%s: files of the starting engine were removed: it is started again", self.launch.label)
            return await self._start_with(binary, flags, repeats + 1)
        self._binaries.forget_flags(binary)
        raise BackendStartError(f"the engine did not start: {ended.detail}", *installation.advice(), ended.advice)

    async def _spawn(self, binary: Binary, flags: frozenset[str]) -> ChildProcess:
        self._starts += 1
        try:
            command = [*self.launch.runner(binary.command), *self.launch.arguments(flags)]
            logger.debug("%s: %s", self.launch.label, " ".join(command))
            child = self._child = await start_child(
                command, self.launch.run_dir, self._log, on_exit=self._note_exit, clock=self._clock
            )
        except OSError as error:
            raise BackendStartError(
                f"the engine {binary} cannot be started: {error.strerror}", *installation.advice()
            ) from error
        self.http.close()
        self.http = self.launch.client(lambda why: child.kill_as(declared(why)), self._end_without_socket)
        return child

    def _end_without_socket(self) -> None:
        """A cleaner of temporary folders has removed its socket: the engine can be asked nothing more."""
        if self._state is EngineState.READY and self._child:
            self._child.kill_as(SOCKET_LOST)

    def _note_exit(self, child: ChildProcess, ended: Exit) -> None:
        """The process has exited. If the engine was READY and not being stopped, it has crashed."""
        if child is not self._child:
            return  # an earlier process, which took so long to die that it was given up
        self._last_exit = ended
        if child.is_stopping or (child.lost_files and self._state is EngineState.STARTING):
            return
        served, is_unusable = self.served_seconds, ended.restart is Restart.NEXT_BINARY
        if is_unusable and self._binary:
            self._binaries.set_aside(self._binary, ended.detail)
        if self._state is EngineState.READY or not is_unusable:  # else the next binary is tried at once
            self._history.ends.append(End(ended, self._clock(), served))
        if self._state is EngineState.READY:
            logger.error("%s: the engine died: %s", self.launch.label, ended.detail)
            self._enter(EngineState.CRASHED)
        if self._on_end:
            self._on_end(self._report(child, ended, served))

    def _report(self, child: ChildProcess, ended: Exit, served: float) -> Ended:
        return Ended(
            label=self.launch.label,
            exit=ended,
            command=child.command,
            binary=str(self._binary),
            log=tuple(self.log[-LINES_KEPT:]),
            memory=tuple(child.memory),
            uptime=child.uptime,
            served=served,
            pid=child.pid,
        )

    async def _healthy(self) -> bool:
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                return await self.http.get_status(self.launch.health_path) == HTTPStatus.OK
        except (ConnectionBroken, TimeoutError):
            return False

    async def _stop(self) -> signal.Signals | None:
        if self._starting and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting})
        self._watchdog.rest()
        try:
            return await self._child.stop() if self._child else None
        finally:
            self.http.close()
            self._enter(EngineState.STOPPED)


def _ignore(why: str) -> None:
    """The `on_death` of a client before the first start: no engine runs that could die."""


def _broken(last: Exit, wait: float) -> EngineBrokenError:
    again = f"It will be tried again in {wait:.0f} s at the earliest."
    error = EngineBrokenError(f"the engine is not started again for now: {last.detail}", last.advice, again)
    error.retry_after = wait
    return error
