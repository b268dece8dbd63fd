"""A client waits for a daemon that is silent as long as that lives."""

import socket
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from oprel.client import connect
from oprel.client.base import Address, Scheme
from oprel.client.plain import daemon_state, plain_client
from oprel.client.plain.daemon_state import MOST_SILENCES, SilenceChecks
from oprel.client.plain.plain_client import PlainClient
from oprel.client.shared import patient_network
from oprel.client_api import Client
from oprel.client_async import AsyncClient
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError

ANSWER = b'{"models":[]}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
SILENCES = 3  # that a slow daemon takes for an answer, each with a sign of life


class SlowDaemon:
    """Answers `/` at once while it lives, and everything else after it was asked for `/` some times."""

    def __init__(self, listener: socket.socket, *, lives: bool) -> None:
        self._listener = listener
        self._lives = lives
        self._waiting: list[socket.socket] = []
        self._closing = False
        self.asked = 0
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            start = connection.recv(1 << 16)
            if not start:  # it only looks whether anything listens, or this is to end
                connection.close()
                if self._closing:
                    return
                continue
            if not start.startswith(b"GET / "):
                self._waiting.append(connection)
                continue
            self.asked += 1
            if not self._lives:
                self._waiting.append(connection)
                continue
            self._answer(connection, b"oprel is running")
            if self.asked == SILENCES:
                for each in self._waiting:
                    self._answer(each, ANSWER)

    def _answer(self, connection: socket.socket, body: bytes) -> None:
        with connection:
            connection.sendall(OK % len(body) + body)

    def close(self) -> None:
        self._closing = True
        with socket.socket(self._listener.family) as last:
            last.connect(self._listener.getsockname())
        self.thread.join()
        for each in self._waiting:
            each.close()


Serve = Callable[..., tuple[str, SlowDaemon]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a daemon at a Unix socket or a port; returns its address."""
    monkeypatch.setattr(plain_client, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(patient_network, "QUIET_SECONDS", 0.05)
    opened: list[tuple[socket.socket, SlowDaemon]] = []

    def start(family: str, *, lives: bool) -> tuple[str, SlowDaemon]:
        if family == "unix":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            address = f"unix:{tmp_path / 's'}"
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        opened.append((listener, SlowDaemon(listener, lives=lives)))
        return address, opened[-1][1]

    yield start
    for listener, daemon in opened:
        daemon.close()
        listener.close()


def give_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_state, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr("oprel.client.connect.PROBE_SECONDS", 0.05)


def list_by(kind: type[PlainClient] | type[Client], address: str) -> int:
    with kind(config=Config(host=address)) as client:
        return len(client.list().models)


KINDS = [(PlainClient, "unix"), (Client, "unix"), (Client, "tcp")]


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_a_slow_answer_is_waited_for(serve: Serve, kind: type[PlainClient] | type[Client], family: str) -> None:
    address, daemon = serve(family, lives=True)
    assert list_by(kind, address) == 0
    assert daemon.asked == SILENCES


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_a_daemon_without_a_sign_of_life_is_given_up(
    serve: Serve, kind: type[PlainClient] | type[Client], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up_soon(monkeypatch)
    address, _ = serve(family, lives=False)
    with pytest.raises(ConnectError, match="does not answer any more"):
        list_by(kind, address)


@pytest.mark.parametrize("family", ["unix", "tcp"])
@pytest.mark.parametrize("lives", [True, False])
async def test_an_awaited_call_waits_as_long(
    serve: Serve, family: str, *, lives: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _ = serve(family, lives=lives)
    async with AsyncClient(config=Config(host=address)) as client:
        if lives:
            assert (await client.list()).models == []
        else:
            give_up_soon(monkeypatch)
            with pytest.raises(ConnectError, match="does not answer any more"):
                await client.list()


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_a_limit_of_the_caller_holds(serve: Serve, family: str) -> None:
    address, daemon = serve(family, lives=True)
    with Client(address, timeout=0.08) as client, pytest.raises(ConnectError, match="timed out"):
        client.list()
    assert daemon.asked < SILENCES


@pytest.mark.parametrize("is_bound", [True, False])
def test_a_daemon_that_lets_answers_finish_lives(tmp_path: Path, *, is_bound: bool) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as ending:
        if is_bound:
            ending.bind(str(path))
        daemon_state.check_alive(Address(Scheme.UNIX, str(path)), Config(home=str(tmp_path)))
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        address = Address.parse(f"127.0.0.1:{refusing.getsockname()[1]}")
        connect._check_reachable(address, Config(home=str(tmp_path)))


def test_a_daemon_is_asked_less_and_less_often() -> None:
    checked, silences = list[int](), count(1)
    new_checks = SilenceChecks(lambda: checked.append(number))
    while (number := next(silences)) < 100:
        new_checks()
    assert checked[:5] == [1, 2, 4, 8, 16]
    assert {after - before for before, after in zip(checked[5:], checked[6:], strict=False)} == {MOST_SILENCES}
