"""The sockets that the daemon listens on."""

import errno
import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.configuration.addresses import is_loopback
from oprel.core.configuration.ollama_env import PORT as OLLAMA_PORT
from oprel.core.exceptions import ConfigError
from oprel.utils.files import port_owner
from oprel.utils.process import systems

logger = logging.getLogger(__name__)

BACKLOG = 2048
NEXT_PORTS = 20  # that are tried where another user has the default one
LOCALHOST = ("127.0.0.1", "::1")  # what the name means for clients, whatever the system resolves it to
# Of an address that this machine does not have, such as ::1 where IPv6 is switched off.
UNAVAILABLE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class _Address(NamedTuple):
    family: socket.AddressFamily
    host: str
    scope: int  # of an IPv6 address

    def with_port(self, port: int) -> tuple[object, ...]:
        return (self.host, port, 0, self.scope) if self.family == socket.AF_INET6 else (self.host, port)


class Listening(NamedTuple):
    """The daemon's TCP sockets: for plain HTTP, and for HTTPS."""

    plain: list[socket.socket]
    secure: list[socket.socket]

    @property
    def all(self) -> list[socket.socket]:
        return [*self.plain, *self.secure]

    @property
    def urls(self) -> list[str]:
        return [*urls_of(self.plain), *urls_of(self.secure, "https")]


def listen(config: Config, *, with_tls: bool, passed: Sequence[socket.socket] = ()) -> Listening:
    """Listen as the settings say; sockets that were `passed` are in place of `server_port`. Raises ConfigError."""
    host, port = config.server_host, config.server_port
    if not with_tls:
        return Listening([*passed] or tcp_sockets(host, port), [])
    if not config.tls_port:
        return Listening([], [*passed] or tcp_sockets(host, port))
    plain = [*passed] or tcp_sockets(host if is_loopback(host) else "localhost", port)
    try:
        return Listening(plain, tcp_sockets(host, config.tls_port, "--tls-port"))
    except ConfigError:
        for listener in plain:
            listener.close()
        raise


def tcp_sockets(host: str, port: int, flag: str = "--server-port") -> list[socket.socket]:
    """One for each address of `host`, IPv4 first, all on one port, which the `flag` of `oprel serve` sets.

    Where another user has the default port, it is the next free one. Raises ConfigError.
    """
    try:
        return _listeners(host, port)
    except OSError as error:
        owner = port_owner(port) if error.errno == errno.EADDRINUSE and port == Config.server_port else None
        if owner not in (None, systems.user_id()) and (listeners := _on_next_port(host, port)):
            other = listeners[0].getsockname()[1]
            logger.warning("port %s belongs to another user (user ID %s): listening on %s instead", port, owner, other)
            return listeners
        step = "Check --server-host."
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            any_free = " or OPREL_SERVER_PORT (0 = any free one)" if flag == "--server-port" else ""
            step = f"Choose another port with {flag}{any_free}."
        if error.errno == errno.EADDRINUSE and port == OLLAMA_PORT:
            step = "Is Ollama running? Stop it, or choose another port with --server-port."
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", step) from error


def urls_of(listeners: Sequence[socket.socket], scheme: str = "http") -> list[str]:
    """
    >>> with socket.create_server(("127.0.0.1", 0)) as listener:
    ...     urls_of([listener]) == [f"http://127.0.0.1:{listener.getsockname()[1]}"]
    True
    """
    addresses = map(_host_and_port, listeners)
    return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host, port in addresses]


def unix_socket(path: Path, *, mode: int = 0o600, group: str = "") -> socket.socket:
    """A listener at `path`, in place of whatever file is there. Raises OSError; KeyError for an unknown group."""
    listener, unnamed = systems.unix_socket(), path.with_name(f".{path.name}")
    try:
        unnamed.unlink(missing_ok=True)
        listener.bind(str(unnamed))
        if group:
            systems.give_to_group(unnamed, group)
        unnamed.chmod(mode)
        listener.listen(BACKLOG)
        unnamed.replace(path)  # now: one that does not listen yet looks like that of a daemon that is about to end
    except (OSError, KeyError):
        listener.close()
        unnamed.unlink(missing_ok=True)
        raise
    return listener


def _host_and_port(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return host, port


def _listeners(host: str, port: int) -> list[socket.socket]:
    """Raises OSError, also where one of several addresses is in use."""
    addresses, listeners = _addresses(host), list[socket.socket]()
    is_any, missing = port == 0, OSError(errno.EADDRNOTAVAIL, f"{host} has no address here")
    try:
        for address in addresses:
            try:
                listeners.append(_listener(address, port, alone=len(addresses) == 1))
            except OSError as error:
                if error.errno not in UNAVAILABLE and not (is_any and listeners):
                    raise
                missing = error
            port = listeners[0].getsockname()[1] if listeners else port
        if not listeners:
            raise missing
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _addresses(host: str) -> list[_Address]:
    hosts = dict.fromkeys([host, *(LOCALHOST if host == "localhost" else ())])
    addresses = dict.fromkeys(address for each in hosts for address in _resolved(each))
    return sorted(addresses, key=lambda address: address.family != socket.AF_INET)


def _resolved(host: str) -> Iterator[_Address]:
    try:
        results = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except socket.gaierror:
        if host in LOCALHOST:  # of a family that the system does not have
            return
        raise
    for family, _, _, _, address in results:
        yield _Address(family, str(address[0]), int(address[3]) if len(address) > 3 else 0)


def _listener(address: _Address, port: int, *, alone: bool) -> socket.socket:
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == socket.AF_INET6 and not alone:  # else it may take the port for IPv4 too
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address.with_port(port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _on_next_port(host: str, port: int) -> list[socket.socket]:
    """Listeners on one of the next ports, so that a user finds them there again, else on any free one."""
    for other in (*range(port + 1, port + 1 + NEXT_PORTS), 0):
        with suppress(OSError):
            return _listeners(host, other)
    return []
