"""Which Host headers mean this machine: a web page can point a name of its own at it ("DNS rebinding")."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

NOT_IN_A_HOST = re.compile(r"[^\w.:\[\]-]", re.ASCII)
# What containers and virtual machines call the machine that runs them; nobody can register these names.
HOST_OF_CONTAINERS = ("host.docker.internal", "host.containers.internal", "host.lima.internal")


@dataclass(frozen=True)
class OwnHosts:
    """`patterns`: further names, with * as wildcard."""

    patterns: tuple[str, ...] = ()

    def has(self, header: str, local: str) -> bool:
        """Whether a Host header can only mean this machine; `local` is the address that was connected to.

        A page cannot send the name of another one, and an address in a URL leads to that address. One of the internet
        is none of a connection over loopback.

        >>> local = ("", "localhost:11435", "192.168.1.2", "[::1]:1", "evil.example", "box.local", "8.8.8.8")
        >>> [OwnHosts().has(host, "127.0.0.1") for host in local]
        [True, True, True, True, False, False, False]
        >>> OwnHosts().has("8.8.8.8", "10.0.0.2"), OwnHosts(("*.lan",)).has("box.lan", "10.0.0.2")
        (True, True)
        """
        if NOT_IN_A_HOST.search(header):  # a URL around it could lead elsewhere, or have another path
            return False
        try:
            name = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:  # no host at all, like "[::1"
            return False
        if address := _address(name):
            return not address.is_global or not is_loopback(local)
        return (
            name in ("", "localhost", *HOST_OF_CONTAINERS)
            or name.endswith(".localhost")
            or name in own_names(socket.gethostname())
            or any(matches(name, pattern) for pattern in self.patterns)
        )


def own_hosts(allowed: str, server_host: str) -> OwnHosts:
    """By the settings `allowed_hosts` and `server_host`, which may be a name."""
    named = [] if _address(server_host) else [server_host]
    return OwnHosts(tuple(host.strip().lower() for host in (*allowed.split(","), *named) if host.strip()))


def own_names(hostname: str) -> tuple[str, ...]:
    """What a machine of that name is called in its network; multicast DNS adds `.local`.

    >>> own_names("Box.lan")
    ('box.lan', 'box', 'box.local')
    """
    name = hostname.lower().rstrip(".")
    short = name.partition(".")[0]
    return (name, short, f"{short}.local")


def matches(text: str, pattern: str) -> bool:
    """Whether all of it fits a pattern, in which * stands for anything."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text) is not None


def is_loopback(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
