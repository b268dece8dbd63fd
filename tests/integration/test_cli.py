"""The commands as a user runs them: processes of their own, with their output, their errors and their exit status."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import oprel
from oprel.cli.main import COMMANDS
from oprel.client.connect import is_up
from oprel.core.config import Config
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually
from tests.fixtures.fake_engine import install
from tests.fixtures.gguf_factory import WORDS

StartDaemon = Callable[..., RunningDaemon]
Done = subprocess.CompletedProcess[str]


@dataclass
class Shell:
    """Types `oprel` commands into a shell of its own, in `folder`, with `settings` as OPREL_* variables."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # users have none
        return {**kept, **{f"OPREL_{name.upper()}": value for name, value in self.settings.items()}}

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        process = self.start(*arguments, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, DEADLINE)
        return Done(process.args, process.returncode, out.decode(), err.decode())

    def start(self, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE):
        """The process, not waited for."""
        command = [sys.executable, "-P", "-m", "oprel", *arguments]
        return subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=self.folder, env=self.environment
        )


@pytest.fixture
def oprel_shared(shared_daemon: RunningDaemon, tmp_path: Path) -> Shell:
    """Commands to the daemon that all tests share: they may look, and ask the model `tiny`."""
    return Shell(tmp_path, {"home": str(shared_daemon.config.home_dir)})


@pytest.fixture
def oprel_own(config: Config, tmp_path: Path) -> Iterator[Shell]:
    """Commands to a home of the test's own; a daemon that they start is stopped at the end."""
    yield Shell(tmp_path, {"home": config.home, "server_port": "0"})
    if is_up(config):
        pid = daemon_pid(config)
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not alive(pid))


@pytest.fixture
def faulty(start_daemon: StartDaemon, tmp_path: Path) -> StartDaemon:
    """Start a daemon on the test's home whose engine has these faults."""
    return lambda **faults: start_daemon(engine_path=str(install(tmp_path / "engine", **faults)))


def daemon_pid(config: Config) -> int:
    return int((config.run_dir / "daemon.lock").read_text())


def idle(daemon: RunningDaemon) -> bool:
    """True when the daemon's engines answer nobody."""
    with daemon.client as client:
        return all(engine.in_flight == 0 for engine in client.engines().models)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def dead_address() -> Iterator[str]:
    """An address that nobody listens on, and that nobody else is given meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


# ------------------------------------------------------------------------------------------------ the program


def test_the_version_is_printed(oprel_own: Shell) -> None:
    assert oprel_own("--version").stdout == f"oprel {oprel.__version__}\n"


def test_the_help_lists_every_command(oprel_own: Shell) -> None:
    done = oprel_own("--help")
    assert done.returncode == 0
    assert [name for name in COMMANDS if not re.search(rf"^    {name}\b", done.stdout, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(oprel_own: Shell, command: str) -> None:
    done = oprel_own(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: oprel {command} ")


@pytest.mark.parametrize(("arguments", "named"), [((), "COMMAND"), (("frobnicate",), "'frobnicate'")])
def test_without_a_known_command_the_usage_is_told(oprel_own: Shell, arguments: tuple[str, ...], named: str) -> None:
    done = oprel_own(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: oprel ")
    assert named in done.stderr


# ------------------------------------------------------------------------------------------------------- run


class Recorder(ThreadingHTTPServer):
    """Stands where a daemon would: remembers what it is asked and always gives the same answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.asked: list[dict[str, object]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    class Handler(BaseHTTPRequestHandler):
        server: "Recorder"

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            self.server.asked.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"response": "Grüezi"}\n{"response": "", "done": true}\n'.replace(b"\\xfc", b""))

        def log_message(self, format: str, *args: object) -> None:
            pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with Recorder() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
