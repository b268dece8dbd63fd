"""The daemon as a service: a real one, whose service manager is a socket of the test."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.client.own_daemon import serve_command
from oprel.core.config import Config
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
