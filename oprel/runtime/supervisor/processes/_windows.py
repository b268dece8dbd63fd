"""Processes in job objects, without a console window. Windows ends all of a job when its last handle is closed.

Handles are closed however this process ends, so no engine outlives it.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from ctypes import wintypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oprel.runtime.confinement.limits import EngineLimits

assert sys.platform == "win32"

TETHERED = False  # the job object does what a tether does elsewhere
EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
KILL_ON_CLOSE, JOB_MEMORY = 0x2000, 0x200  # JOB_OBJECT_LIMIT_…
MAY_BE_ASSIGNED = 0x0101  # PROCESS_SET_QUOTA | PROCESS_TERMINATE


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION of winnt.h."""

    _fields_ = (
        ("per_process_time", ctypes.c_int64),
        ("per_job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION of winnt.h."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class JobObject:
    """A job object: processes that end together, and have at most `memory` bytes, 0 for any. Raises OSError."""

    def __init__(self, memory: int) -> None:
        self._kernel = _kernel()
        self._handle = self._kernel.CreateJobObjectW(None, None)
        limits = ExtendedLimits(job_memory=memory)
        limits.basic.flags = KILL_ON_CLOSE | (JOB_MEMORY if memory else 0)
        if not (
            self._handle
            and self._kernel.SetInformationJobObject(
                self._handle, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
            )
        ):
            raise _last_error()

    def add(self, pid: int) -> None:
        """What the process has started before stays out of the job."""
        process = self._kernel.OpenProcess(MAY_BE_ASSIGNED, False, pid)
        if not process:
            raise _last_error()
        try:
            if not self._kernel.AssignProcessToJobObject(self._handle, process):
                raise _last_error()
        finally:
            self._kernel.CloseHandle(process)

    def end(self, status: int) -> None:
        self._kernel.TerminateJobObject(self._handle, status)

    def close(self) -> None:
        self._kernel.CloseHandle(self._handle)


_jobs: dict[int, JobObject] = {}  # by the process ID of the first process


@dataclass(frozen=True)
class ProcessInJob:
    """A process, and what it and its children write to stdout and stderr."""

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    transport: asyncio.ReadTransport
    group: None = None  # its job has its limits

    def close(self) -> None:
        self.transport.close()
        if job := _jobs.pop(self.process.pid, None):
            job.close()


async def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    tethered: bool = TETHERED,
    limits: EngineLimits = EngineLimits(),  # noqa: B008 - it is frozen
) -> ProcessInJob:
    """Start `command` in a job of its own, in `folder`, within `limits`. Raises OSError."""
    import msvcrt
    import subprocess
    from asyncio.windows_utils import PipeHandle, pipe

    reading, writing = pipe(overlapped=(True, False))
    written = msvcrt.open_osfhandle(writing, 0)
    job = JobObject(limits.memory)
    try:
        output = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), PipeHandle(reading)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                env=environment,
                cwd=folder if folder.drive else None,
                creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
            )
            job.add(process.pid)
        except BaseException:
            transport.close()
            raise
    except BaseException:
        job.close()
        raise
    finally:
        os.close(written)
    _jobs[process.pid] = job
    return ProcessInJob(process, output, transport)


def signal_group(leader: int, number: signal.Signals) -> None:
    """End the job of a process that `spawn` started: a process without a console gets no polite signal."""
    if job := _jobs.get(leader):
        job.end(number)
    else:
        with contextlib.suppress(OSError):  # it has ended, or was left by an earlier daemon
            os.kill(leader, number)


def memory_kills() -> int:
    """Windows kills no process for lack of memory: it refuses more of it."""
    return 0


def _kernel() -> Any:
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.CreateJobObjectW.argtypes = [wintypes.LPVOID, wintypes.LPCWSTR]
    kernel.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    kernel.SetInformationJobObject.argtypes = [wintypes.HANDLE, ctypes.c_int, wintypes.LPVOID, wintypes.DWORD]
    kernel.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    kernel.TerminateJobObject.argtypes = [wintypes.HANDLE, wintypes.UINT]
    kernel.CloseHandle.argtypes = [wintypes.HANDLE]
    return kernel


def _last_error() -> OSError:
    return ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined,no-any-return,unused-ignore]
