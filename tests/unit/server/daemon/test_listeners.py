"""Where the daemon listens: each address of its host, on one port."""

import socket
from contextlib import ExitStack, suppress

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.server.daemon import listeners
from oprel.server.daemon.listeners import Listening, listen, tcp_sockets, urls_of


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
        sockets = [opened.enter_context(each) for each in tcp_sockets("localhost", 0)]
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
            tcp_sockets("localhost", port)
        with socket.create_server(("127.0.0.1", port), reuse_port=False):  # what was opened before was closed
            pass


def test_an_address_that_the_machine_does_not_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "LOCALHOST", ("192.0.2.1", "127.0.0.1"))  # RFC 5737: of no machine
    with ExitStack() as opened:
        sockets = [opened.enter_context(each) for each in tcp_sockets("localhost", 0)]
        assert "127.0.0.1" in {each.getsockname()[0] for each in sockets}
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        tcp_sockets("192.0.2.1", 0)


def test_a_single_address_stays_alone() -> None:
    (only,) = tcp_sockets("127.0.0.1", 0)
    with only:
        assert only.getsockname()[0] == "127.0.0.1"


def test_https_takes_the_port_or_has_one_of_its_own_beside_plain_http_on_loopback() -> None:
    with ExitStack() as opened:

        def listening(config: Config, *, with_tls: bool = True) -> Listening:
            sockets = listen(config, with_tls=with_tls)
            for each in (*sockets.plain, *sockets.secure):
                opened.enter_context(each)
            return sockets

        plain = listening(Config(server_port=0), with_tls=False)
        assert (len(plain.plain), plain.secure) == (1, [])
        secure = listening(Config(server_port=0))
        assert (secure.plain, len(secure.secure)) == ([], 1)
        assert secure.urls[0].startswith("https://127.0.0.1:")
        both = None
        while not both:
            with suppress(ConfigError):  # another program was faster
                both = listening(Config(server_host="0.0.0.0", server_port=0, tls_port=free_port()))
        assert {each.getsockname()[0] for each in both.plain} <= {"127.0.0.1", "::1"}
        assert [each.getsockname()[0] for each in both.secure] == ["0.0.0.0"]
        port = both.secure[0].getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            listen(Config(server_port=0, tls_port=port), with_tls=True)
        assert caught.value.resolution_steps == ("Choose another port with --tls-port.",)


def free_port() -> int:
    """Of no address at the moment."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        return int(listener.getsockname()[1])
