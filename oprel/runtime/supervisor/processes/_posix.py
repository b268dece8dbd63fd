"""Starts and kills process groups on Linux and macOS."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oprel.runtime.confinement import before_exec, control_groups
from oprel.runtime.confinement.control_groups import ControlGroup
from oprel.runtime.confinement.limits import EngineLimits
from oprel.runtime.supervisor.processes import tether

assert sys.platform != "win32"

# Where the kernel cannot kill a child with its parent, a process of ours does.
TETHERED = sys.platform != "linux"
TETHER = (sys.executable, "-P", "-m", tether.__name__)


@dataclass(frozen=True)
class SpawnedProcess:
    """A process, what it and its children write to stdout and stderr, and its control group, if it has one."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    transport: asyncio.ReadTransport
    tether: int | None  # our end of a pipe; closing it kills the process
    group: ControlGroup | None

    def close(self) -> None:
        self.transport.close()
        if self.group:
            self.group.remove()
        if self.tether is not None:
            os.close(self.tether)


class _ReadingEnd:
    """The reading end of a pipe, which its transport closes once.

    libuv closes it, and then uvloop closes the Python object. A file that another thread opened in between, by the same
    number, would be closed instead; and when that thread closes its file, perhaps the pipe of the next engine, which
    then ends at its first line.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._closes = not type(asyncio.get_running_loop()).__module__.startswith("uvloop")

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._closes:
            self._closes = False
            os.close(self._descriptor)


async def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    tethered: bool = TETHERED,
    limits: EngineLimits = EngineLimits(),  # noqa: B008 - it is frozen
) -> SpawnedProcess:
    """Start `command` as the leader of its own process group, in `folder`, within `limits`.

    On Linux the kernel kills it when the calling *thread* ends: call from the event loop's thread, never from a worker
    thread that may retire. Elsewhere, and if its children would outlive it, a tether kills the whole group when this
    process ends. Raises OSError.
    """
    stdin, tether = os.pipe() if tethered else (None, None)
    try:
        command = [*TETHER, *command] if tethered else command
        return await _spawn(command, environment, folder, stdin=stdin, tether=tether, limits=limits)
    except BaseException:
        if tether is not None:
            os.close(tether)
        raise
    finally:
        if stdin is not None:
            os.close(stdin)


async def _spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    stdin: int | None,
    tether: int | None,
    limits: EngineLimits,
) -> SpawnedProcess:
    # A pipe of our own: asyncio reports no exit while a grandchild holds asyncio's pipe (python/cpython#119710).
    reading, writing = os.pipe()
    group = control_groups.make(limits.memory) if limits.memory else None
    try:
        output = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), _ReadingEnd(reading)
        )
        try:
            # The last await: before it there is no process to clean up, and inside it asyncio kills the process.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
                stdout=writing,
                stderr=writing,
                env=environment,
                cwd=folder,
                start_new_session=True,
                # A tether must outlive us for a moment, to kill its group.
                preexec_fn=before_exec.preparation(dies_with_parent=stdin is None, offline=limits.offline, group=group),
            )
        except BaseException:
            transport.close()
            if group:
                group.remove()
            raise
    finally:
        os.close(writing)
    return SpawnedProcess(process, output, transport, tether, group)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal the whole group of a process that `spawn` started. A group that has ended is not an error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)


def memory_kills() -> int:
    """How many processes Linux has killed for lack of memory since boot; 0 where the system does not count them."""
    try:
        counters = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in counters if line.startswith("oom_kill ")), 0)
