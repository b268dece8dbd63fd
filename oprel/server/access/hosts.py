"""Which Host headers mean this machine: a web page can point a name of its own at it ("DNS rebinding")."""

import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from oprel.core.configuration.addresses import address_of, is_loopback

NOT_IN_A_HOST = re.compile(r"[^\w.:\[\]-]", re.ASCII)
# What containers and virtual machines call the machine that runs them; these names cannot be registered.
HOST_OF_CONTAINERS = ("host.docker.internal", "host.containers.internal", "host.lima.internal")


@dataclass(frozen=True)
class OwnHosts:
    """`patterns`: further names, with * as wildcard."""

    patterns: tuple[str, ...] = ()

    def has(self, header: str, local: str) -> bool:
        """Whether a Host header can only mean this machine; `local` is the address that was connected to.

        A page cannot send the name of another one, and an address in a URL leads to that address. A connection
        over loopback has no address of the internet.

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
        if address := address_of(name):
            return not address.is_global or not is_loopback(local)
        return (
            name in ("", "localhost", *HOST_OF_CONTAINERS)
            or name.endswith(".localhost")
            or name in own_names(socket.gethostname())
            or any(matches(name, pattern) for pattern in self.patterns)
        )


def own_hosts(allowed: str, server_host: str) -> OwnHosts:
    """By the settings `allowed_hosts` and `server_host`, which may be a name."""
    named = [] if address_of(server_host) else [server_host]
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
