"""Starting and ending a process group on Linux and macOS."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.runtime.supervisor import tether

# Where the kernel ends no child with its parent, a process of ours does.
TETHERED = sys.platform != "linux"
TETHER = (sys.executable, "-P", "-m", tether.__name__)
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class Child:
    """A process and what it and its children write to stdout and stderr."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    transport: asyncio.ReadTransport
    tether: int | None  # a pipe whose closing ends it

    def close(self) -> None:
        self.transport.close()
        if self.tether is not None:
            os.close(self.tether)


async def spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None, *, tethered: bool = TETHERED
) -> Child:
    """Start `command` as leader of its own process group, in `folder` if there is one.

    On Linux the kernel kills it when the calling *thread* ends: call from the event loop's thread, never from a worker
    thread that may retire. Elsewhere, and where its children would live on, a tether kills all of the group when this
    process ends. Raises OSError.
    """
    held, holding = os.pipe() if tethered else (None, None)
    try:
        return await _spawn([*TETHER, *command] if tethered else command, environment, folder, held, holding)
    except BaseException:
        if holding is not None:
            os.close(holding)
        raise
    finally:
        if held is not None:
            os.close(held)


async def _spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None, held: int | None, holding: int | None
) -> Child:
    """`held` is its standard input, and `holding` the other end."""
    # A pipe of our own: asyncio tells of no exit while a child of the child holds its pipe (python/cpython#119710).
    reading, writing = os.pipe()
    try:
        output = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            # The last await: cancelled before it there is no process, and inside it asyncio ends the process.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL if held is None else held,
                stdout=writing,
                stderr=writing,
                env=environment,
                cwd=folder,
                start_new_session=True,
                # A tether lives on for a moment, to end what it holds.
                preexec_fn=_die_with_parent() if held is None else None,
            )
        except BaseException:
            transport.close()
            raise
    finally:
        os.close(writing)
    return Child(process, output, transport, holding)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal the whole group of a process that `spawn` started; a group that has ended is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    libc = ctypes.CDLL(None)  # resolved here: after the fork nothing may be imported or allocated needlessly

    def ask_for_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return ask_for_signal


def memory_kills() -> int:
    """How many processes Linux has killed for lack of memory since it started; 0 where nobody counts."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counters if line.startswith("oom_kill ")), 0)


async def read_line(stream: asyncio.StreamReader) -> bytes:
    """The next line, or what there is of one that never ends; b"" at the end."""
    try:
        return await stream.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await stream.readexactly(error.consumed)
