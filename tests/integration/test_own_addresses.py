"""Clients start this machine's own daemon, by whichever of its addresses they were given."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from oprel.client.base import Address, NotReachedError
from oprel.client.own_daemon import stop_daemon
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.utils.process import pipes
from tests.conftest import temporary_home
from tests.fixtures.pair_pipes import FOLDER, PairPipes

ROOT = Path(__file__).parents[2]
AS_ON_WINDOWS = "from tests.fixtures.pair_pipes import use_pair_pipes\nuse_pair_pipes()\n"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """Of a daemon that has pipes, also where a client starts it."""
    with temporary_home() as folder:
        (folder / "sitecustomize.py").write_text(AS_ON_WINDOWS)
        monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
        monkeypatch.setenv(FOLDER, str(folder))
        monkeypatch.setattr(pipes, "_installed", [PairPipes(folder)])
        config = Config(home=str(folder / "home"), server_port=_free_port(), listen=f"unix:{folder}/s, pipe:oprel")
        yield config
        stop_daemon(config, now=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "unix:{folder}/s", "pipe:oprel"])
def test_a_daemon_starts_where_it_is_asked_for(config: Config, address: str) -> None:
    text = address.format(port=config.server_port, folder=config.home_dir.parent)
    with pytest.raises(NotReachedError), Client(text, config=config, start=False) as client:
        client.health()
    with Client(text, config=config) as client:
        assert client.health().status == "ok"


@pytest.mark.parametrize(
    ("address", "is_own"),
    [
        *(("http://127.0.0.1:11435", True), (":11435", True), ("localhost", True), ("[::1]:11435", True)),
        *(("http://127.0.0.1:11436", False), ("http://box:11435", False), ("https://127.0.0.1:11435", False)),
        *(("http://127.0.0.1:11435/prefix", False), ("unix:/srv/o/run/oprel.sock", True), ("unix:/srv/o", False)),
        *(("unix:/run/o.sock", True), ("pipe:oprel", True), ("pipe:other", False)),
    ],
)
def test_which_addresses_are_this_machines_own(address: str, *, is_own: bool) -> None:
    config = Config(home="/srv/o", listen="unix:/run/o.sock?mode=0660, pipe:oprel", host=address)
    assert Address.of(config).own is is_own


@pytest.mark.parametrize("name", [r"pipe:\\.\pipe\oprel", "npipe:////./pipe/oprel", "pipe:oprel", "PIPE:oprel"])
def test_pipes_are_named_as_windows_and_docker_name_them(name: str) -> None:
    assert str(Address.parse(name)) == "pipe:oprel"
