"""One engine process: its states, its start shared by all who wait for it, its log, its end.

    STOPPED ──▶ STARTING ──▶ READY ──▶ DRAINING ──▶ STOPPED
                   │           │          ▲
                   ├───────────┼──────────┘  (stop)
                   └──▶ CRASHED ◀┘ ──▶ STARTING, or BACKING_OFF ──▶ STARTING, or BROKEN (next ensure_ready)

What may follow a crash is decided in `restarts`. `EngineProcess` owns the state: nobody looks at it to act on it, they
call `ensure_ready()` and `stop()`.
"""

import asyncio
import contextlib
import logging
import random
import re
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import httpx

from oprel.core.config import child_environment
from oprel.core.exceptions import BackendError, BackendStartError, EngineBrokenError, ShuttingDownError
from oprel.runtime import _posix, restarts
from oprel.runtime.binaries.shelf import Binary, Shelf
from oprel.runtime.exits import Exit, Reason, classify_exit
from oprel.runtime.restarts import End, History

logger = logging.getLogger(__name__)

LOG_LINES = 200
LINES_TOLD = 20
LOG_DRAIN = 1.0  # s for the last lines after an exit
# A connection for each request: llama-server closes 1 in 50 of its kept-alive ones at the moment they are used again
# (b11549, 8 of 300), and over a Unix socket a new one costs no measurable time (medians of 1.1 and 1.2 ms).
ONE_REQUEST_EACH = httpx.Limits(max_connections=None, max_keepalive_connections=0)
LISTENING = re.compile(r"listening on (unix|http)")
HEALTH_INTERVAL = 0.02  # s between looks at a starting engine's health
QUIET_START = 0.25  # s without the listening line before health alone decides
# politely, firmly, surely; s for each
STOP_LADDER = ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0))


class State(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CRASHED = "crashed"
    BACKING_OFF = "backing_off"
    BROKEN = "broken"


DOWN = frozenset({State.CRASHED, State.BROKEN})  # no process, and not because it was asked to end

TRANSITIONS: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING, State.BACKING_OFF, State.BROKEN}),
    State.STARTING: frozenset({State.READY, State.DRAINING, State.CRASHED}),
    State.READY: frozenset({State.DRAINING, State.CRASHED}),
    State.DRAINING: frozenset({State.STOPPED}),
    State.CRASHED: frozenset({State.STARTING, State.BACKING_OFF, State.BROKEN, State.STOPPED}),
    State.BACKING_OFF: frozenset({State.STARTING, State.DRAINING}),
    State.BROKEN: frozenset({State.STARTING, State.BACKING_OFF, State.STOPPED}),
}


@dataclass(frozen=True)
class Launch:
    """How to start an engine: `arguments` for a program that knows `flags`; it listens on the Unix socket `socket`."""

    label: str
    socket: Path
    arguments: Callable[[frozenset[str]], list[str]]
    load_timeout: float  # s without a new log line


class EngineProcess:
    """Supervises one engine. All methods belong to the event loop's thread."""

    def __init__(
        self,
        launch: Launch,
        shelf: Shelf,
        clock: Callable[[], float] = time.monotonic,
        history: History | None = None,
    ) -> None:
        self._launch = launch
        self._history = history or History()
        self._ready_since = 0.0
        self._shelf = shelf
        self._clock = clock
        self._state = State.STOPPED
        self._process: asyncio.subprocess.Process | None = None
        self._binary: Binary | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._log_moved = 0.0
        self._listening = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[Exit] | None = None
        self._stopping: asyncio.Task[signal.Signals | None] | None = None
        self._last_exit: Exit | None = None
        self._closed = False
        self._starts = 0
        self.http = _client(launch.socket)

    @property
    def state(self) -> State:
        return self._state

    @property
    def starts(self) -> int:
        """How often an engine was started: who sees another number than before talks to another engine."""
        return self._starts

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def binary(self) -> Binary | None:
        return self._binary

    @property
    def address(self) -> str:
        return f"unix:{self._launch.socket}"

    @property
    def last_exit(self) -> Exit | None:
        return self._last_exit

    @property
    def log(self) -> list[str]:
        return list(self._log)

    async def ensure_ready(self) -> None:
        """Return once the engine answers; concurrent callers share one start, which outlives a caller that leaves.

        Raises BackendStartError or NoEngineError with the reason, and the next call tries again; EngineBrokenError when
        it ended too often for that.
        """
        while self._state is not State.READY:
            if self._closed:
                raise ShuttingDownError("oprel is shutting down", "Try again in a moment.")
            if self._state is State.DRAINING and self._stopping:
                await asyncio.shield(self._stopping)
                continue
            if self._state is State.STOPPED or self._state in DOWN:
                wait = self._wait_before_start()
                self._enter(State.BACKING_OFF if wait else State.STARTING)
                self._starting = asyncio.create_task(self._start(wait), name=f"start {self._launch.label}")
            assert self._starting is not None
            await asyncio.wait({self._starting})
            if self._starting.cancelled() and not self._closed:
                raise BackendStartError("the engine was stopped while it started", "Ask again.")
            if not self._starting.cancelled():
                self._starting.result()

    async def stop(self) -> signal.Signals | None:
        """End the engine and return the signal that ended it (None when none ran). Concurrent callers share it."""
        if self._state in DOWN:
            self._enter(State.STOPPED)
        if self._state in (State.BACKING_OFF, State.STARTING, State.READY):
            self._enter(State.DRAINING)
            self._stopping = asyncio.create_task(self._stop(), name=f"stop {self._launch.label}")
        if self._state is State.DRAINING and self._stopping:
            return await asyncio.shield(self._stopping)
        return None

    async def close(self) -> None:
        """Stop for good: whoever still waits for it, or asks again, gets ShuttingDownError."""
        self._closed = True
        await self.stop()

    async def why_it_ended(self, within: float) -> Exit | None:
        """The reason of the last exit; waits up to `within` seconds for an exit that a broken connection announced."""
        if self._state is State.READY and self._ending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._ending), within)
        return self._last_exit if self._state is not State.READY else None

    def _enter(self, state: State) -> None:
        assert state in TRANSITIONS[self._state], f"{self._state} -> {state}"
        logger.info("%s: %s -> %s", self._launch.label, self._state.value, state.value)
        self._state = state

    def _wait_before_start(self) -> float:
        """Seconds. Raises EngineBrokenError when a caller should not wait for it."""
        verdict = restarts.judge(self._history.ends, self._clock(), random.uniform(-1, 1))
        if not verdict.refused:
            return verdict.wait
        if self._state is not State.BROKEN:
            self._enter(State.BROKEN)
        raise _broken(self._history.ends[-1].exit, verdict.wait)

    async def _start(self, wait: float) -> None:
        try:
            if wait:
                await asyncio.sleep(wait)
                self._enter(State.STARTING)
            while not await self._start_with(*await self._shelf.choose()):
                pass
            self._enter(State.READY)
            self._ready_since = self._clock()
        except BaseException as error:
            await self._kill()
            if self._state is State.STARTING:
                if isinstance(error, BackendStartError):
                    self._note_end(served=0.0)
                lines = "\n".join(f"    {line}" for line in self.log[-LINES_TOLD:])
                logger.error("%s: %s; its last lines:\n%s", self._launch.label, error, lines)
                self._enter(State.CRASHED)
            raise

    async def _start_with(self, binary: Binary, flags: frozenset[str]) -> bool:
        """True once ready; False when the program cannot run on this machine and was set aside."""
        self._binary = binary
        await self._spawn([*binary.command, *self._launch.arguments(flags)])
        assert self._ending is not None
        ready = asyncio.create_task(self._until_healthy(), name=f"ready {self._launch.label}")
        try:
            await asyncio.wait({ready, self._ending}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not self._ending.done():
                ready.result()
                return True
        finally:
            ready.cancel()
        ended = self._ending.result()
        if ended.reason is Reason.UNUSABLE_ENGINE:
            self._shelf.set_aside(binary, ended.detail)
            return False
        raise BackendStartError(f"the engine did not start: {ended.detail}", ended.advice)

    async def _spawn(self, command: list[str]) -> None:
        self._launch.socket.unlink(missing_ok=True)  # a killed engine leaves its socket, and the next bind would fail
        self._log.clear()
        self._listening.clear()
        self._starts += 1
        self._log_moved = self._clock()
        logger.debug("%s: %s", self._launch.label, " ".join(command))
        try:
            child = await _posix.spawn(command, child_environment())
        except OSError as error:
            raise BackendStartError(f"the engine {command[0]} cannot be started: {error.strerror}") from error
        self._process = child.process
        self._ending = asyncio.create_task(self._watch(child), name=f"watch {self._launch.label}")
        await self.http.aclose()
        self.http = _client(self._launch.socket)

    async def _watch(self, child: _posix.Child) -> Exit:
        """Follow the log until the exit; a READY engine that exits has crashed."""
        kills_before = _posix.memory_kills()
        following = asyncio.create_task(self._follow(child.output), name=f"log {self._launch.label}")
        status = await child.process.wait()
        _posix.signal_group(child.process.pid, signal.SIGKILL)  # children that outlived their leader
        await asyncio.wait({following}, timeout=LOG_DRAIN)
        following.cancel()
        child.transport.close()
        memory_ran_out = _posix.memory_kills() > kills_before
        ended = self._last_exit = classify_exit(status, self.log, memory_ran_out=memory_ran_out)
        self._launch.socket.unlink(missing_ok=True)
        if self._state is State.READY:
            if ended.reason is Reason.UNUSABLE_ENGINE and self._binary:
                self._shelf.set_aside(self._binary, ended.detail)
            logger.error("%s: the engine died: %s", self._launch.label, ended.detail)
            self._enter(State.CRASHED)
            self._note_end(served=self._clock() - self._ready_since)
        return ended

    def _note_end(self, served: float) -> None:
        if self._last_exit:
            self._history.ends.append(End(self._last_exit, self._clock(), served))

    async def _follow(self, output: asyncio.StreamReader) -> None:
        while line := await _posix.read_line(output):
            self._note(line.decode(errors="replace").rstrip())

    def _note(self, line: str) -> None:
        self._log.append(line)
        self._log_moved = self._clock()
        logger.debug("%s| %s", self._launch.label, line)
        if LISTENING.search(line):
            self._listening.set()

    async def _until_healthy(self) -> None:
        """Wait for the listening line and then for health; raises BackendStartError when the load stalls."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listening.wait(), QUIET_START)
        while not await self._healthy():
            if self._clock() - self._log_moved > self._launch.load_timeout:
                raise BackendStartError(
                    f"the engine made no progress for {self._launch.load_timeout:.0f} s while loading",
                    "Raise load_timeout if the disk is slow; otherwise see the daemon's log.",
                )
            await asyncio.sleep(HEALTH_INTERVAL)

    async def _healthy(self) -> bool:
        try:
            return (await self.http.get("/health", timeout=10.0)).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    async def _stop(self) -> signal.Signals | None:
        if self._starting and not self._starting.done():
            self._starting.cancel()
            await asyncio.wait({self._starting})
        try:
            return await self._descend_ladder()
        finally:
            await self.http.aclose()
            self._enter(State.STOPPED)

    async def _descend_ladder(self) -> signal.Signals | None:
        if self._process is None or self._ending is None or self._ending.done():
            return None
        for step, deadline in STOP_LADDER:
            _posix.signal_group(self._process.pid, step)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._ending), deadline)
                return step
            logger.warning("%s: no end within %.0f s of %s", self._launch.label, deadline, step.name)
        raise BackendError(f"the engine (pid {self._process.pid}) cannot be killed")

    async def _kill(self) -> None:
        if self._process and self._ending and not self._ending.done():
            _posix.signal_group(self._process.pid, signal.SIGKILL)
            await asyncio.wait({self._ending}, timeout=STOP_LADDER[-1][1])


def _broken(last: Exit, wait: float) -> EngineBrokenError:
    again = f"It will be tried again in {wait:.0f} s at the earliest."
    error = EngineBrokenError(f"the engine is not started again for now: {last.detail}", last.advice, again)
    error.retry_after = wait
    return error


def _client(socket: Path) -> httpx.AsyncClient:
    """Decoding has no time limit, and a request waits in the engine for its slot: only connecting is bounded."""
    return httpx.AsyncClient(
        # Without `verify=False` httpx loads the certificates of the world, which blocks the loop for 25 ms.
        transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=ONE_REQUEST_EACH, verify=False),
        base_url="http://engine",
        timeout=httpx.Timeout(None, connect=10.0),
    )
