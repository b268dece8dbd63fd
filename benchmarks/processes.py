"""The processes that benches measure: daemons of this checkout and of others, and what they take of the machine."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import httpx

from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import probe
from tests.conftest import RATES

ROOT = Path(__file__).parent.parent
START_SECONDS, LOOK_SECONDS = 60.0, 0.02
ANSWER_SECONDS = 600.0


class NotStarted(RuntimeError):
    """A process ended before it was ready, or took too long."""


@dataclass(frozen=True)
class Checkout:
    """A commit with an environment of its own in .venv."""

    root: Path

    @property
    def python(self) -> str:
        return str(self.root / ".venv" / "bin" / "python") if self.root != ROOT else sys.executable

    @property
    def commit(self) -> str:
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


THIS = Checkout(ROOT)


@dataclass(frozen=True)
class Daemon:
    """A daemon with a home of its own."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        return self.home / "run" / "oprel.sock"

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    @cached_property
    def http(self) -> httpx.Client:
        return over_socket(self.socket)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)


def over_socket(path: Path) -> httpx.Client:
    """A client of the server that listens on the Unix socket."""
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=ANSWER_SECONDS)


@contextmanager
def running_daemon(checkout: Checkout = THIS, **settings: object) -> Iterator[Daemon]:
    """A daemon of the checkout with these settings, in a temporary home."""
    with tempfile.TemporaryDirectory(prefix="oprel-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        bandwidth.remember(home, probe(), RATES)  # else the daemon would measure it at some moment
        with (home / "daemon.log").open("wb") as log:
            command = [checkout.python, "-P", "-m", "oprel", "serve"]
            process = subprocess.Popen(command, env=environment(home, settings), stdout=log, stderr=log)
        daemon = Daemon(home, process)
        try:
            _until_answers(daemon)
            yield daemon
        finally:
            daemon.http.close()
            process.send_signal(signal.SIGTERM)
            process.wait()


def environment(home: Path, settings: dict[str, object]) -> dict[str, str]:
    """Ours, without settings of the machine's own oprel."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPREL_", "OLLAMA_"))}
    own = {"home": home, "server_port": 0, "offline": "on", **settings}
    return kept | {f"OPREL_{name.upper()}": str(value) for name, value in own.items()}


def _until_answers(daemon: Daemon) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            daemon.http.get("/api/version").raise_for_status()
            return
        except httpx.TransportError as error:
            if daemon.process.poll() is not None or time.monotonic() > end:
                log = (daemon.home / "daemon.log").read_text(errors="replace")
                raise NotStarted(f"the daemon did not start: {log[-2000:]}") from error
            time.sleep(LOOK_SECONDS)


def cpu_seconds(pid: int) -> float:
    """Seconds of all CPUs that the living threads of the process took (schedstat, in ns)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # the thread has ended
    return total / 1e9
