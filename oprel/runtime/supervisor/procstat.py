"""CPU time, memory and bytes read of an engine's whole process group, by its leader's pid.

These functions read kernel files of every process on the machine: call them in a thread. psutil is imported late,
because the import takes longer than the rest.
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


@dataclass(frozen=True)
class ProcessStats:
    """`cpu` in seconds; `read` from disk and `resident` in bytes."""

    cpu: float = 0.0
    read: int = 0
    resident: int = 0

    def __add__(self, other: "ProcessStats") -> "ProcessStats":
        return ProcessStats(self.cpu + other.cpu, self.read + other.read, self.resident + other.resident)


def look(leader: int) -> ProcessStats:
    """The group's figures; all zero if it has ended."""
    return sum((_of(process) for process in group(leader)), ProcessStats())


def memory(leader: int) -> int:
    """Bytes in use: proportional shares of shared mappings where the system reports them, else resident bytes."""
    return sum(_proportional(process.pid) or _of(process).resident for process in group(leader))


def group(leader: int) -> "list[psutil.Process]":
    """The processes of the group that `leader` leads."""
    import psutil

    processes = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == leader:
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
        return ProcessStats(times.user + times.system, _read(process), process.memory_info().rss)
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


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
