"""Which user of this machine is at the other end of a connection, by what the kernel says and never by what is sent.

The kernel reports user 0, and no inode, for the socket of a client that has closed it: a caller that sends a request
and leaves would pass for root.
"""

import os
import socket
import struct
import sys
from asyncio.trsock import TransportSocket
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread

PEER = "oprel.peer"  # the key of a request's Peer in its ASGI scope; without one it comes from this process
OWN_USER = os.getuid() if hasattr(os, "getuid") else 0
ROOT = 0

# sock_diag(7), linux/inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
REQUEST = struct.Struct("=IHHII BBBBI")  # nlmsghdr, then inet_diag_req_v2 up to its `id`
SOCKET_ID = struct.Struct("!HH16s16s4s8s")  # of the ports, the addresses, the interface and the cookie
ANY_INTERFACE, NO_COOKIE = bytes(4), b"\xff" * 8
REPLY_TYPE = struct.Struct("=4xH")
REPLY = struct.Struct("=16xBB2x4s16s16s12x12xII")  # nlmsghdr, then inet_diag_msg up to its `idiag_inode`
PORTS = struct.Struct("!HH")
MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address in one of IPv6
ALL_STATES = 0xFFFFFFFF
# Of TCP, net/tcp_states.h: those of a connection, without the ones of which the kernel knows no user.
TIME_WAIT, CLOSED, SYN_SENT, LISTEN, NEW_SYN_RECV = 6, 7, 2, 10, 12
UNOWNED = (SYN_SENT, TIME_WAIT, CLOSED, LISTEN, NEW_SYN_RECV)

# struct xucred of macOS and the BSDs, sys/ucred.h and sys/un.h
SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES = 0, 1, 76
UCRED = struct.Struct("=iII")  # Linux, unix(7): process, user, group


class Endpoint(NamedTuple):
    """`address`: packed, 4 or 16 bytes."""

    address: bytes
    port: int


class Peer:
    """The other end of a connection. The system is asked for its user once, when that is first needed."""

    def __init__(self, connection: TransportSocket | socket.socket | None, user: int | None = None) -> None:
        """`user`: who it is, where only that user could connect."""
        self._connection = connection
        self._user = user
        self._is_known = user is not None

    async def user(self) -> int | None:
        """Its user ID on this machine; None for another machine, and where the system does not say."""
        if not self._is_known:
            self._user = await self._look_up()
            self._is_known, self._connection = True, None
        return self._user

    async def _look_up(self) -> int | None:
        if self._connection is None:
            return None
        try:
            if self._connection.family == getattr(socket, "AF_UNIX", None):
                return user_of_local(self._connection)
            client, server = map(_endpoint, (self._connection.getpeername(), self._connection.getsockname()))
        except OSError:  # it is closed
            return None
        if sys.platform == "linux":
            return user_of_tcp(client, server)
        return await anyio.to_thread.run_sync(_own_user_of_tcp, client, server)  # asks for each process


def user_of_local(connection: TransportSocket | socket.socket) -> int:
    """Who connected to a Unix socket. Raises OSError."""
    if sys.platform == "linux":
        _, user, _ = UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        return int(user)
    return int(struct.unpack_from("=II", connection.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED_BYTES))[1])


def user_of_tcp(client: Endpoint, server: Endpoint) -> int | None:
    """Who has the client's socket of a TCP connection, if that is on this machine; for Linux."""
    try:
        return _by_netlink(client, server)
    except OSError:  # of a kernel without it, or for a service that may open no such socket
        return _by_proc(client, server)


def _by_netlink(client: Endpoint, server: Endpoint) -> int | None:
    """Ask for one socket by its addresses, however many there are. Raises OSError."""
    family = socket.AF_INET if len(client.address) == 4 else socket.AF_INET6
    addresses = _padded(client.address), _padded(server.address)
    wanted = SOCKET_ID.pack(client.port, server.port, *addresses, ANY_INTERFACE, NO_COOKIE)
    size = REQUEST.size + SOCKET_ID.size
    head = (size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    request = REQUEST.pack(*head, family, socket.IPPROTO_TCP, 0, 0, ALL_STATES) + wanted
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)) as kernel:
        kernel.sendto(request, (0, 0))
        reply = kernel.recv(4096, socket.MSG_DONTWAIT)  # it is there: the kernel answers within `sendto`
    return _user_in(reply, client, server)


def _user_in(reply: bytes, client: Endpoint, server: Endpoint) -> int | None:
    """The user in a reply, if it is about the wanted socket and not about one that listens. Raises OSError."""
    (kind,) = REPLY_TYPE.unpack_from(reply)
    if kind != SOCK_DIAG_BY_FAMILY:
        code = struct.unpack_from("=i", reply, 16)[0]
        if kind == 2 and code not in (0, -2):  # NLMSG_ERROR; ENOENT: there is no such socket here
            raise OSError(-code, os.strerror(-code))
        return None
    family, state, ports, own, other, user, inode = REPLY.unpack_from(reply)
    size = 4 if family == socket.AF_INET else 16
    ends = tuple(map(Endpoint, (_plain(own[:size]), _plain(other[:size])), PORTS.unpack(ports)))
    return int(user) if _is_owned(ends == (client, server), state, inode) else None


def _is_owned(is_same: bool, state: int, inode: int) -> bool:
    return is_same and inode != 0 and state not in UNOWNED


def _by_proc(client: Endpoint, server: Endpoint) -> int | None:
    """The same from /proc/net/tcp and tcp6, which list all sockets of this machine."""
    for file in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = file.read_text().splitlines()[1:]
        except OSError:
            continue
        ports = f":{client.port:04X} ", f":{server.port:04X} "
        for ends, state, user, inode in _listed(row for row in rows if all(port in row for port in ports)):
            if _is_owned(ends == (client, server), state, inode):
                return user
    return None


def _listed(rows: Iterable[str]) -> Iterator[tuple[tuple[Endpoint, Endpoint], int, int, int]]:
    """Of each socket its own and the other end, its state, user and inode."""
    for row in rows:
        _, local, remote, state, _, _, _, user, _, inode, *_ = row.split()
        yield (_listed_endpoint(local), _listed_endpoint(remote)), int(state, 16), int(user), int(inode)


def _listed_endpoint(text: str) -> Endpoint:
    """
    >>> _listed_endpoint("0100007F:2CAB") if sys.byteorder == "little" else Endpoint(b"\\x7f\\0\\0\\1", 11435)
    Endpoint(address=b'\\x7f\\x00\\x00\\x01', port=11435)
    """
    address, _, port = text.partition(":")
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]  # each in the machine's byte order
    return Endpoint(_plain(b"".join(word.to_bytes(4, sys.byteorder) for word in words)), int(port, 16))


def _own_user_of_tcp(client: Endpoint, server: Endpoint) -> int | None:
    """This user's ID if one of its processes has the client's socket: systems other than Linux hide those of others."""
    import psutil

    user = psutil.Process().username()
    for process in psutil.process_iter():
        try:
            if process.username() != user:
                continue
            connections = [(each.laddr, each.raddr) for each in process.net_connections("tcp") if each.raddr]
            if any((_endpoint(own), _endpoint(other)) == (client, server) for own, other in connections):
                return OWN_USER
        except psutil.Error:  # it has ended, or is protected
            continue
    return None


def _endpoint(name: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    """
    >>> _endpoint(("::ffff:127.0.0.1", 80, 0, 0)) == _endpoint(("127.0.0.1", 80))
    True
    """
    host = name[0].partition("%")[0]
    return Endpoint(_plain(socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)), name[1])


def _plain(address: bytes) -> bytes:
    """An IPv4 address that is written as one of IPv6, as itself."""
    return address[12:] if address.startswith(MAPPED) else address


def _padded(address: bytes) -> bytes:
    return address.ljust(16, b"\0")
