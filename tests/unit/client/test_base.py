"""Where a daemon is, and what goes wrong on the way to it."""

import sys
from pathlib import Path

import httpx
import pytest

from oprel.client.base import Address, Scheme
from oprel.client.connect import connection_errors
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError
from oprel.core.home import own_pipe

BOX = Address(Scheme.HTTP, "http://box:11435")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("box", "http://box:11435"),
        ("box:8080", "http://box:8080"),
        (":8080", "http://127.0.0.1:8080"),
        ("10.0.0.7", "http://10.0.0.7:11435"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("http://box:8080/", "http://box:8080"),
        ("https://Box.example/ollama/", "https://box.example:443/ollama"),
        ("[::1]", "http://[::1]:11435"),
        ("http://[fe80::1]:8080", "http://[fe80::1]:8080"),
    ],
)
def test_an_address_is_completed(text: str, target: str) -> None:
    address = Address.parse(text)
    assert (address.scheme, address.target, address.own) == (Scheme.HTTP, target, False)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["unix:/run/oprel.sock", "unix://run/oprel.sock"])
def test_a_unix_socket_is_an_address(text: str) -> None:
    address = Address.parse(text)
    assert address == Address(Scheme.UNIX, "/run/oprel.sock")
    assert str(address) == "unix:/run/oprel.sock"


@pytest.mark.parametrize("text", ["ftp://box", "box:port", "box:99999", "::1", "file:///run/oprel.sock"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a daemon's address") as caught:
        Address.parse(text)
    assert repr(text) in caught.value.message
    assert "http://HOST:PORT" in caught.value.resolution_steps[0]


def test_the_daemon_is_the_configured_one_or_the_machines_own(tmp_path: Path) -> None:
    assert Address.of(Config(host="box")) == BOX
    own = Config(home=str(tmp_path / "h"))
    local = (Scheme.PIPE, own_pipe(own)) if sys.platform == "win32" else (Scheme.UNIX, str(own.socket_path))
    assert Address.of(own) == Address(*local, own=True)


def test_a_daemon_that_does_not_answer_is_named_with_a_next_step() -> None:
    with (
        pytest.raises(ConnectError, match="(?m)^no daemon answers at http://box:11435$") as caught,
        connection_errors(BOX),
    ):
        raise httpx.ConnectError("refused")
    assert "oprel serve" in caught.value.resolution_steps[0]


@pytest.mark.parametrize("cls", [httpx.ReadError, httpx.ConnectTimeout, httpx.RemoteProtocolError])
def test_a_broken_connection_tells_what_broke(cls: type[httpx.TransportError]) -> None:
    with pytest.raises(ConnectError, match="(?m)^lost the connection to http://box:11435: it is gone$"):
        with connection_errors(BOX):
            raise cls("it is gone")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), connection_errors(BOX):
        raise ZeroDivisionError
