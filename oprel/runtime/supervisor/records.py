"""Which engines run, on disk: so that a daemon can end what one that was killed left behind, and nothing else.

Each engine has a file `engines/PID.json` in the run folder. A process is ours only if number, start time, boot and
command line are those that were written down: numbers are used again, and a foreign llama-server is not to be touched.
Of an engine that is gone, a child may be there still: in its group, and with its socket in the command line, or in the
folder that is the engine's alone.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from oprel.runtime.supervisor import _posix, procstat

logger = logging.getLogger(__name__)

FOLDER = ".d"  # ending of the folders that engines work in
GONE_WITHIN = 3.0  # s after SIGKILL


@dataclass(frozen=True)
class ProcessRecord:
    """An engine's process. `start` is in the kernel's own unit; `command` is a digest of its command line.

    `socket` is what its children are known by: its socket, or the folder that it works in.
    """

    pid: int
    start: float
    boot: str
    command: str
    socket: str


def write(run_dir: Path, pid: int, socket: Path) -> Path | None:
    """Note that the process `pid` is an engine of ours; the file to remove when it has ended.

    None when it has ended, or has just been started and no command line yet. Raises OSError.
    """
    record, folder = _observed(pid, str(socket)), run_dir / "engines"
    if record is None:
        return None
    path, temporary = folder / f"{pid}.json", folder / f".{pid}"
    folder.mkdir(exist_ok=True)
    temporary.write_text(json.dumps(asdict(record)))
    temporary.replace(path)  # not synchronized: after a loss of power there is no such process
    return path


def reconcile(run_dir: Path) -> list[ProcessRecord]:
    """End the engines of a daemon that was killed, and remove its files; the records of those that were ended.

    Only for who holds the daemon's lock: every file here is then from a daemon that is no more.
    """
    files = list((run_dir / "engines").glob("*"))
    left = [record for record in map(_read, files) if record and _runs(record)]
    for record in left:
        logger.warning("ending an engine that was left (pid %s)", record.pid)
        _posix.signal_group(record.pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_WITHIN
    while any(map(_runs, left)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for path in (*files, *run_dir.glob("*.sock"), *run_dir.glob("*.jinja")):
        path.unlink(missing_ok=True)
    for folder in run_dir.glob(f"*{FOLDER}"):
        shutil.rmtree(folder, ignore_errors=True)
    return left


def _read(path: Path) -> ProcessRecord | None:
    """None for a file that a crash has damaged, or that is no record."""
    try:
        fields = json.loads(path.read_bytes())
        record = ProcessRecord(**fields)
    except (OSError, ValueError, TypeError):
        return None
    return record if isinstance(record.pid, int) and record.pid > 1 else None


def _runs(record: ProcessRecord) -> bool:
    return _observed(record.pid, record.socket) == record or procstat.is_named(record.socket, leader=record.pid)


def _observed(pid: int, socket: str) -> ProcessRecord | None:
    """What is to be seen of the process now; None for one that has ended, or that is about to begin."""
    if sys.platform != "linux":
        return _observed_by_psutil(pid, socket)
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if state == "Z" or not command else ProcessRecord(pid, float(rest[18]), boot, _digest(command), socket)


def _observed_by_psutil(pid: int, socket: str) -> ProcessRecord | None:
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            command = os.fsencode("\0".join(process.cmdline()))
            return ProcessRecord(pid, process.create_time(), str(int(psutil.boot_time())), _digest(command), socket)
    return None


def _digest(command: bytes) -> str:
    return hashlib.sha256(command).hexdigest()
