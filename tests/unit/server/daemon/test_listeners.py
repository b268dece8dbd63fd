"""Where the daemon listens: each address of its host, on one port."""

import socket
from contextlib import ExitStack

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.server.daemon import listeners
from oprel.server.daemon.listeners import tcp_sockets, urls_of


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = has_ipv6()


@pytest.mark.parametrize("first", ["127.0.0.1", "::1"])
def test_localhost_is_both_families_whatever_it_resolves_to(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **named: real(first if host == "localhost" else host, *rest, **named)
    )
    with ExitStack() as opened:
        sockets = [opened.enter_context(each) for each in tcp_sockets(Config(server_host="localhost", server_port=0))]
        port = sockets[0].getsockname()[1]
        urls = [f"http://127.0.0.1:{port}", *([f"http://[::1]:{port}"] if IPV6 else [])]
        assert urls_of(sockets) == urls
        for each in sockets:
            socket.create_connection(each.getsockname()[:2]).close()


def test_an_address_of_another_family_that_is_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "LOCALHOST", ("127.0.0.1", "127.0.0.2"))
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on localhost:{port}"):
            tcp_sockets(Config(server_host="localhost", server_port=port))
        with socket.create_server(("127.0.0.1", port), reuse_port=False):  # what was opened before was closed
            pass


def test_an_address_that_the_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "LOCALHOST", ("192.0.2.1", "127.0.0.1"))  # RFC 5737: of no machine
    with ExitStack() as opened:
        sockets = [opened.enter_context(each) for each in tcp_sockets(Config(server_host="localhost", server_port=0))]
        assert "127.0.0.1" in {each.getsockname()[0] for each in sockets}
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        tcp_sockets(Config(server_host="192.0.2.1", server_port=0))


def test_a_single_address_stays_alone() -> None:
    (only,) = tcp_sockets(Config(server_port=0))
    with only:
        assert only.getsockname()[0] == "127.0.0.1"
