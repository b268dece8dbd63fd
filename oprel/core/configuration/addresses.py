"""Addresses in settings: of this machine, and of proxies."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from oprel.core.exceptions import ConfigError

OVER_UNIX = "unix"  # in `trusted_proxies`: all that use the Unix socket


@dataclass(frozen=True)
class Proxies:
    """The addresses whose word about their clients counts."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    over_unix: bool = False

    def trusts(self, address: str) -> bool:
        """Whether it is one of them; "" is the Unix socket."""
        if not address:
            return self.over_unix
        if not self.networks:
            return False
        try:
            ip = ip_address(address.removeprefix("::ffff:"))
        except ValueError:
            return False
        return any(ip in network for network in self.networks)


def parse_proxies(text: str) -> Proxies:
    """The setting `trusted_proxies`. Raises ConfigError.

    >>> parse_proxies("127.0.0.1, unix").over_unix
    True
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        networks = tuple(ip_network(word) for word in words if word != OVER_UNIX)
    except ValueError as error:
        raise ConfigError(
            f"trusted_proxies: {error}",
            f"Use addresses, networks such as 10.0.0.0/8, or `{OVER_UNIX}` for the Unix socket, with commas.",
        ) from None
    return Proxies(networks, OVER_UNIX in words)


def is_loopback(host: str) -> bool:
    address = address_of(host)
    if address is None:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
