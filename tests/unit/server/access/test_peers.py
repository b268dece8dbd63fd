"""The user of a TCP connection of this machine, as the kernel says it."""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from oprel.server.access import peers
from oprel.server.access.peers import OWN_USER, Endpoint, Peer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux is asked")
Lookup = Callable[[Endpoint, Endpoint], int | None]
LOOKUPS = [peers._by_netlink, peers._by_proc, peers._own_user_of_tcp]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def connected(stack: ExitStack, host: str, through: str) -> tuple[socket.socket, socket.socket]:
    """The client's and the daemon's end of a connection; the daemon listens on `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = stack.enter_context(socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::"))
    client = socket.socket(socket.AF_INET6 if ":" in through else socket.AF_INET)
    stack.enter_context(client).connect((through, listener.getsockname()[1]))
    accepted, _ = listener.accept()
    return client, stack.enter_context(accepted)


def ends(server: socket.socket) -> tuple[Endpoint, Endpoint]:
    return peers._endpoint(server.getpeername()), peers._endpoint(server.getsockname())


WAYS = [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("::1", "::1")]
WAYS += [("::", "127.0.0.1"), ("::", "::ffff:127.0.0.1"), ("0.0.0.0", "127.9.9.9"), ("::", "::1")]


@pytest.mark.parametrize(("host", "through"), WAYS)
@pytest.mark.parametrize("lookup", LOOKUPS)
def test_the_user_of_a_connection_is_known(stack: ExitStack, lookup: Lookup, host: str, through: str) -> None:
    _, server = connected(stack, host, through)
    assert lookup(*ends(server)) == OWN_USER


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_nobody_has_a_connection_that_does_not_exist(stack: ExitStack, lookup: Lookup) -> None:
    _, server = connected(stack, "127.0.0.1", "127.0.0.1")
    client, listens = ends(server)
    assert lookup(client._replace(port=1), listens) is None  # that the daemon listens there says nothing
    assert lookup(Endpoint(socket.inet_aton("192.0.2.99"), client.port), listens) is None


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_who_has_left_is_not_root(stack: ExitStack, lookup: Lookup) -> None:
    """The kernel says 0 for a socket that no process has: another user could send a request and close it."""
    client, server = connected(stack, "127.0.0.1", "127.0.0.1")
    client.sendall(b"DELETE /api/delete HTTP/1.1\r\n\r\n")
    client.close()
    assert lookup(*ends(server)) is None


async def test_it_is_looked_up_once(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = connected(stack, "127.0.0.1", "127.0.0.1")
    peer, looked_up = Peer(server), list[Endpoint]()

    def look_up(client: Endpoint, server: Endpoint) -> int:
        looked_up.append(client)
        return 7

    monkeypatch.setattr(peers, "_by_netlink", look_up)
    assert [await peer.user() for _ in range(3)] == [7, 7, 7]
    assert looked_up == [peers._endpoint(client.getsockname())]


def test_a_kernel_without_the_quick_way_is_asked_by_the_other(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(client: Endpoint, server: Endpoint) -> None:
        raise PermissionError

    _, server = connected(stack, "127.0.0.1", "127.0.0.1")
    monkeypatch.setattr(peers, "_by_netlink", refuse)
    assert peers.user_of_tcp(*ends(server)) == OWN_USER
