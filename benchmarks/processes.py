"""The processes that benches measure: daemons of this checkout and of others, their engines, and engines alone."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import httpx

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import probe
from oprel.wire.daemon import EngineModel
from tests.conftest import RATES

ROOT = Path(__file__).parent.parent
START_SECONDS, LOOK_SECONDS = 60.0, 0.005
ANSWER_SECONDS = 600.0  # on a busy machine
LOOP = ("sh", "-c", "while :; do :; done")


class NotStarted(RuntimeError):
    """A process ended before it was ready, or took too long."""


@dataclass(frozen=True)
class Checkout:
    """A commit with an environment of its own in .venv."""

    root: Path

    @property
    def python(self) -> str:
        return sys.executable if self.root == ROOT else str(self.root / ".venv" / "bin" / "python")

    @property
    def launcher(self) -> str:
        """The command `oprel` as it is installed."""
        return str(Path(self.python).with_name("oprel"))

    @property
    def commit(self) -> str:
        command = ["git", "-C", str(self.root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


THIS = Checkout(ROOT)


@dataclass(frozen=True)
class Engine:
    """An engine process, and what it was started with: its twin has the same arguments and environment."""

    pid: int
    socket: Path
    command: tuple[str, ...]
    environment: dict[str, str]

    @property
    def address(self) -> str:
        return f"unix:{self.socket}"

    def arguments_on(self, path: Path) -> list[str]:
        """The command of a twin on another socket."""
        return [str(path) if part == str(self.socket) else part for part in self.command]

    def defaults_on(self, path: Path) -> list[str]:
        """The command of the same program with its own defaults: it is given nothing but the model."""
        model = self.command.index("--model")
        return [*self.command[: model + 2], "--host", str(path)]

    @contextmanager
    def starting(self, command: Sequence[str], path: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A process of the command, which listens at `path`, in the environment of this engine."""
        path.unlink(missing_ok=True)
        null = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=path.parent, env=self.environment, stdout=null, stderr=null) as process:
            try:
                yield process
            finally:
                process.kill()


@dataclass(frozen=True)
class Daemon:
    """A daemon with a home of its own, as a process."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        return f"unix:{self.home / 'run' / 'oprel.sock'}"

    @property
    def log(self) -> str:
        return (self.home / "daemon.log").read_text(errors="replace")

    @cached_property
    def http(self) -> httpx.Client:
        return over_socket(Path(self.address.removeprefix("unix:")))

    @cached_property
    def client(self) -> Client:
        return Client(self.address, config=Config(home=str(self.home), server_port=0))

    def loaded(self, model: str) -> EngineModel:
        """The model, after it was loaded for good."""
        self.client.load(model, keep_alive=-1)
        running = self.client.engines().models
        (found,) = (one for one in running if model in (one.path, *(name.partition(":")[0] for name in one.names)))
        return found

    def engine(self, model: str) -> Engine:
        """The engine of the model, which is loaded for good."""
        found = self.loaded(model)
        pid = found.pid or 0
        variables = (variable.partition("=") for variable in _strings(pid, "environ"))
        surroundings = {name: value for name, _, value in variables}
        return Engine(pid, Path(found.address.removeprefix("unix:")), tuple(_strings(pid, "cmdline")), surroundings)


@contextmanager
def running_daemon(
    checkout: Checkout = THIS, settings: Mapping[str, object] = MappingProxyType({}), home: Path | None = None
) -> Iterator[Daemon]:
    """A daemon of the checkout with these settings, in a temporary home unless one is given."""
    with tempfile.TemporaryDirectory(prefix="oprel-bench-", ignore_cleanup_errors=True) as folder:
        home = home or Path(folder)
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
            daemon.client.close()
            process.send_signal(signal.SIGTERM)
            process.wait()


def environment(home: Path, settings: Mapping[str, object] = MappingProxyType({})) -> dict[str, str]:
    """Ours, with these settings and without those of the machine's own oprel."""
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
                raise NotStarted(f"the daemon did not start: {daemon.log[-2000:]}") from error
            time.sleep(LOOK_SECONDS)


def over_socket(path: Path) -> httpx.Client:
    """A client of the server that listens on the Unix socket."""
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=ANSWER_SECONDS)


def until_ready(engine: Path, process: subprocess.Popen[bytes]) -> None:
    """Return when the engine on the socket is ready. Raises NotStarted.

    It is asked over the bare socket, so that it has the CPUs to itself.
    """
    end = time.monotonic() + START_SECONDS
    while not _is_ready(engine):
        if process.poll() is not None or time.monotonic() > end:
            raise NotStarted(f"the engine did not start (exit status {process.returncode})")
        time.sleep(LOOK_SECONDS)


def _is_ready(engine: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(engine))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
        except OSError:
            return False


@contextmanager
def looping() -> Iterator[None]:
    """Beside a process that keeps one CPU busy."""
    with subprocess.Popen(LOOP) as process:
        try:
            yield
        finally:
            process.kill()


# ---- What a process takes, from /proc ----


def cpu_seconds(pid: int) -> float:
    """Seconds of all CPUs that the living threads of the process took (schedstat counts nanoseconds)."""
    return sum(int(_read(task / "schedstat", "0").split()[0]) for task in _threads(pid)) / 1e9


def wake_ups(pid: int) -> int:
    """How often threads of the process waited, and were woken up."""
    return sum(_field(_read(task / "status"), "voluntary_ctxt_switches") for task in _threads(pid))


def resident_bytes(pid: int) -> int:
    return _field(_read(Path(f"/proc/{pid}/status")), "VmRSS") * 1024


def peak_bytes(pid: int) -> int:
    """The most memory that the process ever had resident, shared pages included, or since `forget_peak`."""
    return _field(_read(Path(f"/proc/{pid}/status")), "VmHWM") * 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _strings(pid: int, name: str) -> list[str]:
    return Path(f"/proc/{pid}/{name}").read_text().rstrip("\0").split("\0")


def _threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _read(path: Path, otherwise: str = "") -> str:
    try:
        return path.read_text()
    except OSError:  # the thread has ended
        return otherwise


def _field(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0
