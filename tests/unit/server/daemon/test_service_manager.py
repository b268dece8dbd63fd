"""The messages to a service manager, on a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.core.configuration.environment import SERVICE_VARIABLES, child_environment
from oprel.server.daemon.service_manager import ServiceManager
from tests.conftest import DEADLINE


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The manager's socket, and its address as in NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@oprel-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1))
        listener.settimeout(DEADLINE)
        yield listener, address


def test_each_state_is_sent(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    service = ServiceManager({"NOTIFY_SOCKET": address})
    service.ready("listening\non a port")
    assert listener.recv(1000).decode() == f"READY=1\nSTATUS=listening on a port\nMAINPID={os.getpid()}"
    service.reloading()
    first, second, _ = listener.recv(1000).decode().splitlines()
    assert first == "RELOADING=1" and second.removeprefix("MONOTONIC_USEC=").isdecimal()
    service.stopping(1.5)
    assert listener.recv(1000).startswith(b"STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000\n")


async def test_the_watchdog_is_fed_while_the_loop_runs(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    listener.setblocking(False)
    service = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000", "WATCHDOG_PID": str(os.getpid())})
    loop = asyncio.get_running_loop()
    with service.watched():
        for _ in range(3):
            assert await asyncio.wait_for(loop.sock_recv(listener, 1000), DEADLINE) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
    ids=["none", "no number", "another process"],
)
def test_a_watchdog_of_another_process_is_none_of_ours(variables: dict[str, str]) -> None:
    assert ServiceManager(variables).watchdog_seconds == 0


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1234"])
def test_a_manager_that_does_not_listen_is_no_failure(address: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).ready("listening")


def test_engines_do_not_answer_in_the_daemons_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICE_VARIABLES:
        monkeypatch.setenv(name, "1")
    assert not {*SERVICE_VARIABLES} & child_environment().keys()
