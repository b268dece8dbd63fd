"""CPU time, memory and bytes read of an engine's whole process group, by its leader's pid.

These functions read kernel files of every process on the machine: call them in a thread. psutil is imported late,
because the import takes longer than the rest.
"""

import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.utils.process import systems

if TYPE_CHECKING:
    import psutil


@dataclass(frozen=True)
class ProcessStats:
    """`cpu` and `waited` (ready to run, without a CPU) in seconds; `read` from disk and `resident` in bytes.

    `private`: bytes of its own, in memory or swapped out, 0 where the system does not count them. Mapped files do not
    count.

    `throttled`: a process is stopped, as by a limiter of its CPU time, or the machine is overloaded and the system does
    not count the waiting.
    """

    cpu: float = 0.0
    read: int = 0
    resident: int = 0
    private: int = 0
    waited: float = 0.0
    throttled: bool = False

    def __add__(self, other: "ProcessStats") -> "ProcessStats":
        return ProcessStats(
            cpu=self.cpu + other.cpu,
            read=self.read + other.read,
            resident=self.resident + other.resident,
            private=self.private + other.private,
            waited=self.waited + other.waited,
            throttled=self.throttled or other.throttled,
        )


def look(leader: int) -> ProcessStats:
    """The group's figures; all zero if it has ended."""
    return sum((_of(process) for process in group(leader)), ProcessStats())


def memory(leader: int) -> int:
    """Bytes in use: proportional shares of shared mappings where the system reports them, else resident bytes."""
    return sum(_proportional(process.pid) or _of(process).resident for process in group(leader))


def private_bytes(leaders: Collection[int]) -> int:
    """Bytes that become free when the groups of `leaders` end. Page cache such as mapped weights does not count.

    Nor does memory that processes share, of which each would report the whole.
    """
    return sum(_private(process) for process in _processes(leaders))


def resident(pid: int) -> tuple[int, int]:
    """The resident bytes of one process now, and the most so far; 0 where the system does not report them.

    Reads one small file: it may be called outside a thread.
    """
    lines = _lines_of(pid, "status")
    return _kib("VmRSS:", lines) * 1024, _kib("VmHWM:", lines) * 1024


def group(leader: int) -> "list[psutil.Process]":
    """The processes of the group that `leader` leads."""
    return _processes([leader])


def _processes(leaders: Collection[int]) -> "list[psutil.Process]":
    import psutil

    processes = []
    for pid in psutil.pids() if leaders else ():
        with contextlib.suppress(OSError, psutil.Error):
            if systems.group_of(pid) in leaders:
                processes.append(psutil.Process(pid))
    return processes


def is_named(name: str, leader: int) -> bool:
    """Whether a process of the group has `name` among its arguments, or works in a folder of that name."""
    import psutil

    for process in group(leader):
        with contextlib.suppress(psutil.Error):
            if name in process.cmdline() or name == process.cwd():
                return True
    return False


def _of(process: "psutil.Process") -> ProcessStats:
    import psutil

    try:
        times = process.cpu_times()
        waited = _waited(process.pid)
        return ProcessStats(
            cpu=times.user + times.system,
            read=_read(process),
            resident=process.memory_info().rss,
            private=_private(process, with_swap=True),
            waited=waited or 0.0,
            throttled=process.status() == psutil.STATUS_STOPPED or (waited is None and _is_overloaded()),
        )
    except psutil.Error:  # the process has ended
        return ProcessStats()


def _read(process: "psutil.Process") -> int:
    """Bytes read from disk, without pages already cached; 0 where the system does not count them."""
    if sys.platform != "linux":
        return 0
    import psutil

    try:
        return int(process.io_counters().read_bytes)
    except psutil.Error:
        return 0


def _waited(pid: int) -> float | None:
    """Seconds that its threads were ready to run and did not: other programs had the CPUs, or a quota was used up.

    None where the system does not count them.
    """
    waited = list[int]()
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # the thread has ended
                waited.append(int((thread / "schedstat").read_text().split()[1]))
    return sum(waited) / 1e9 if waited else None


def _is_overloaded() -> bool:
    return systems.load_average() > (os.cpu_count() or 1)


def _private(process: "psutil.Process", *, with_swap: bool = False) -> int:
    if sys.platform == "linux":
        lines = _lines_of(process.pid, "status")
        return (_kib("RssAnon:", lines) + (_kib("VmSwap:", lines) if with_swap else 0)) * 1024
    import psutil

    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:  # the process has ended
        return 0


def _proportional(pid: int) -> int:
    return _kib_of("Pss:", pid, "smaps_rollup") * 1024


def _kib_of(name: str, pid: int, file: str) -> int:
    """A figure of the process; 0 if the system does not report it, or the process has ended."""
    return _kib(name, _lines_of(pid, file))


def _lines_of(pid: int, file: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return []


def _kib(name: str, lines: Sequence[str]) -> int:
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
