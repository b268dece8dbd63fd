"""Records of running engines on disk, with which a daemon ends the engines that a killed daemon left, and no others.

Each engine has a file `engines/PID.json` in the run folder. A process is ours only if its pid, start time, boot and
command line match the record: pids are reused, and a foreign llama-server must not be touched. Children may outlive
their engine. They are in its process group, and have its socket in their command line or work in its folder.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from oprel.runtime.confinement import control_groups
from oprel.runtime.supervisor import processes, procstat
from oprel.utils.files import open_own, read_own
from oprel.utils.process import systems
from oprel.utils.process.observed_time import ObservedTime

logger = logging.getLogger(__name__)

FOLDER = ".d"  # suffix of the folders that engines work in
GONE_WITHIN = 3.0  # s after SIGKILL


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """An engine's process. `start` is in the kernel's own unit; `command` is a digest of its command line.

    `socket` identifies its children: the path of its socket, or of the folder that it works in.
    """

    pid: int
    start: float
    boot: str
    command: str
    socket: str


def write(run_dir: Path, pid: int, socket: Path) -> Path | None:
    """Record that the process `pid` is an engine of ours, and return the file to remove once it has ended.

    Returns None if it has ended, or was just started and has no command line yet. Raises OSError.
    """
    record, folder = _observed(pid, str(socket)), run_dir / "engines"
    if record is None:
        return None
    path, temporary = folder / f"{pid}.json", folder / f".{pid}"
    folder.mkdir(exist_ok=True)
    temporary.unlink(missing_ok=True)
    with open(open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        json.dump(asdict(record), file)
    temporary.replace(path)  # no fsync: after a power failure the process is gone too
    return path


def reconcile(run_dir: Path, *, keep: Path | None = None) -> list[ProcessRecord]:
    """Kill the engines that a killed daemon left, remove its files but `keep`, and return the records of those engines.

    The caller holds the daemon's lock, so that every file here is from a daemon that has ended.
    """
    files = list((run_dir / "engines").glob("*"))
    left = [record for record in map(_read, files) if record and _runs(record)]
    for record in left:
        logger.warning("killing an engine left by an earlier daemon (pid %s)", record.pid)
        processes.signal_group(record.pid, systems.KILL)
    now = ObservedTime()
    deadline = now() + GONE_WITHIN
    while any(map(_runs, left)) and now() < deadline:
        time.sleep(0.01)
    for path in (*files, *run_dir.glob("*.sock"), *run_dir.glob("*.jinja"), *run_dir.glob(f"*{FOLDER}")):
        if path == keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    control_groups.sweep()
    return left


def _read(path: Path) -> ProcessRecord | None:
    """None for a file that a crash has damaged, or that is not a record."""
    try:
        fields = json.loads(read_own(path))
        record = ProcessRecord(**fields)
    except (OSError, ValueError, TypeError):
        return None
    return record if isinstance(record.pid, int) and record.pid > 1 else None


def _runs(record: ProcessRecord) -> bool:
    return _observed(record.pid, record.socket) == record or procstat.is_named(record.socket, leader=record.pid)


def _observed(pid: int, socket: str) -> ProcessRecord | None:
    """The record of the process as it is now; None if it has ended, or has no command line yet."""
    if sys.platform != "linux":
        return _observed_by_psutil(pid, socket)
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    if state == "Z" or not command:
        return None
    return ProcessRecord(pid=pid, start=float(rest[18]), boot=boot, command=_digest(command), socket=socket)


def _observed_by_psutil(pid: int, socket: str) -> ProcessRecord | None:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            command = os.fsencode("\0".join(process.cmdline()))
            boot = str(int(psutil.boot_time()))
            return ProcessRecord(
                pid=pid, start=process.create_time(), boot=boot, command=_digest(command), socket=socket
            )
    return None


def _digest(command: bytes) -> str:
    return hashlib.sha256(command).hexdigest()
