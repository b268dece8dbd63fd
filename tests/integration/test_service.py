"""The daemon as a service: a real one, whose service manager is a socket of the test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.client.own_daemon import serve_command
from oprel.client.plain.plain_client import PlainClient
from oprel.core.config import Config
from oprel.core.configuration.published import published
from oprel.utils.files import listens
from tests.conftest import DEADLINE


class Manager:
    """Receives what a daemon says to its service manager."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def message(self, beginning: str) -> list[str]:
        """The lines of the next message that begins so."""
        limit = time.monotonic() + DEADLINE
        while time.monotonic() < limit:
            message = self._listener.recv(4096).decode()
            if message.startswith(beginning):
                return message.splitlines()
        raise AssertionError(f"no {beginning}")


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, home: Path) -> str:
    return str(home / "notify") if request.param == "path" else f"@oprel-{os.getpid()}-{home.name}"


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(DEADLINE)
        yield Manager(listener)


def test_ready_watchdog_reload_and_stop(config: Config, address: str, manager: Manager, home: Path) -> None:
    file = home / "config.yaml"
    file.write_text("max_queue: 7\n")
    command = [*serve_command(config), f"--config={file}"]
    variables = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
    log = home / "log.txt"
    with log.open("wb") as output:
        daemon = subprocess.Popen(command, stderr=output, env=os.environ | variables)
    try:
        ready = manager.message("READY=1")
        assert ready[1].startswith("STATUS=listening on http://127.0.0.1:") and ready[2] == f"MAINPID={daemon.pid}"
        assert manager.message("WATCHDOG=1") == manager.message("WATCHDOG=1")

        file.write_text("log_level: debug\nmax_queue: 9\n")
        daemon.send_signal(signal.SIGHUP)
        assert manager.message("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
        manager.message("READY=1")
        assert "max_queue 9 takes effect when the daemon restarts" in log.read_text()

        file.write_text("paralel: 2\n")
        daemon.send_signal(signal.SIGHUP)
        manager.message("RELOADING=1")
        manager.message("READY=1")
        assert "the settings stay as they are" in log.read_text()

        daemon.terminate()
        assert manager.message("STOPPING=1")[1].startswith("EXTEND_TIMEOUT_USEC=")
        assert daemon.wait(DEADLINE) == 0
    finally:
        daemon.kill()
        daemon.wait()


@pytest.fixture
def systemctl(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that starts and stops the service's command as systemd would; the file has what it was asked."""
    asked, folder = tmp_path / "asked.txt", tmp_path / "bin"
    folder.mkdir()
    program = folder / "systemctl"
    program.write_text(f"#!{sys.executable}\n{SYSTEMCTL}")
    program.chmod(0o755)
    variables = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "OPREL_HOME": str(home),
        "OPREL_SERVER_PORT": "0",
        "TEST_ASKED": str(asked),
        "TEST_PID": str(home / "run" / "daemon.lock"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return asked


SYSTEMCTL = """
import os, re, shlex, signal, subprocess, sys, time
with open(os.environ["TEST_ASKED"], "a") as asked:
    print(*sys.argv[1:], file=asked)
def ended():
    try:
        pid = int(open(os.environ["TEST_PID"]).read())
        os.kill(pid, signal.SIGTERM)
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)
    except (OSError, ValueError):
        pass
if "restart" in sys.argv or "--now" in sys.argv:
    ended()
if "restart" in sys.argv:
    unit = open(os.environ["XDG_CONFIG_HOME"] + "/systemd/user/oprel.service").read()
    words = shlex.split(re.search("^ExecStart=(.*)$", unit, re.M)[1])
    lines = re.findall("^Environment=(.*)$", unit, re.M)
    own = dict(word.split("=", 1) for line in lines for word in shlex.split(line))
    others = {name: value for name, value in os.environ.items() if not name.startswith("OPREL_")}
    subprocess.Popen(words, env=others | own, stdin=-3, stdout=-3, stderr=-3, start_new_session=True)
    socket = os.environ["TEST_PID"].replace("daemon.lock", "oprel.sock")
    while not os.path.exists(socket):
        time.sleep(0.01)
"""


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "oprel", *words]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env={**os.environ, **variables}, check=False
    )


def test_a_service_is_installed_restarted_and_removed(systemctl: Path, tmp_path: Path, config: Config) -> None:
    unit = tmp_path / "config" / "systemd" / "user" / "oprel.service"
    assert run("list").returncode == 0  # starts a daemon, in whose place the service comes
    installed = run("service", "install", OPREL_MAX_QUEUE="7", OPREL_HF_ENDPOINT="https://me:secret@mirror")
    assert installed.stdout == f"installed {unit}, and started the service\n"
    assert "stopped the daemon that a command had started" in installed.stderr
    assert "OPREL_HF_ENDPOINT" in installed.stderr and "secret" not in unit.read_text()
    assert systemctl.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable oprel.service",
        "--user restart oprel.service",
    ]
    daemon = published(config)
    assert daemon and (daemon.service, daemon.settings["max_queue"].value) == ("systemd-user", 7)

    file = tmp_path / "config" / "oprel" / "config.yaml"
    differs = run("list", OPREL_MAX_QUEUE="9").stderr
    line = "max_queue 9 is set here, but the running daemon has 7: "
    assert differs == f"{line}set it in {file}, then `oprel restart`\n"
    assert "`oprel service logs`" in run("logs").stderr
    assert run("restart").stdout == "restarted the service\n"
    again = published(config)
    assert again and again.pid != daemon.pid and again.service == "systemd-user"

    assert run("service", "uninstall").stdout == "stopped and removed the service; models and settings stay\n"
    assert not unit.exists() and published(config) is None
    assert run("service", "status").stderr.startswith("Error: the service is not installed")


def test_without_a_service_manager_the_file_can_be_printed(systemctl: Path) -> None:
    failed = run("service", "install", PATH="/nonexistent")
    assert (failed.returncode, "oprel service install --print" in failed.stderr) == (1, True)
    assert "Type=notify" in run("service", "install", "--print").stdout
    assert run("service", "install", "--kind", "launchd").returncode == 2


def test_a_daemon_takes_the_sockets_on_which_its_service_manager_listened(config: Config) -> None:
    config.run_dir.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as own:
        own.bind(str(config.socket_path))
        own.listen()
        early = socket.create_connection(tcp.getsockname())  # the client for which the daemon is started
        early.sendall(b"GET /api/version HTTP/1.0\r\n\r\n")
        passed = [tcp.fileno(), own.fileno()]
        shell = f'export LISTEN_PID=$$ LISTEN_FDS=2; exec "$@" 3<&{passed[0]} 4<&{passed[1]}'
        command = ["bash", "-c", shell, "bash", *serve_command(config)]
        daemon = subprocess.Popen(command, pass_fds=passed, stdin=-3, stdout=-3, stderr=-3)
        try:
            with early, early.makefile("rb") as answer:
                assert b" 200 " in answer.readline()
            assert PlainClient(config, start=False).health().pid == daemon.pid
        finally:
            daemon.terminate()
            assert daemon.wait(DEADLINE) == 0
        assert listens(config.socket_path)  # for the next client
