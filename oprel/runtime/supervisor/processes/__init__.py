"""Processes that end with the daemon, and all that they started with them: `_posix` and `_windows` say how."""

import sys

if sys.platform == "win32":
    from oprel.runtime.supervisor.processes import _windows as system

    SpawnedProcess = system.ProcessInJob
else:
    from oprel.runtime.supervisor.processes import _posix as system

    SpawnedProcess = system.SpawnedProcess

TETHERED = system.TETHERED
memory_kills, signal_group, spawn = system.memory_kills, system.signal_group, system.spawn
