"""Addresses of daemons, and the error when none answers there."""

import re
from enum import Enum
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError
from oprel.utils.process import systems

DEFAULT_PORT = 11435
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# As Windows writes it, `\\\\.\\pipe\\NAME`, and as Docker does, `npipe:////./pipe/NAME`. No other machine's.
PIPE = re.compile(r"n?pipe:(?:[/\\]*\.[/\\]pipe[/\\])?([^/\\?]+)", re.IGNORECASE)
TCP_SCHEMES = ("", "http", "https")  # "": the short forms


class Scheme(Enum):
    HTTP = "http"
    UNIX = "unix"
    PIPE = "pipe"  # a named pipe of Windows
    PACKAGE = "package"  # of an installed package: `transports` maps the address's own scheme to it


class Address(NamedTuple):
    """`http://HOST:PORT`, `unix:/PATH`, `pipe:NAME`, or an address with the scheme of an installed package.

    `own`: this machine's own daemon, which clients start when it is down. `fingerprint`: SHA-256 of the only
    certificate that counts, in hexadecimal; it is not shown.
    """

    scheme: Scheme
    target: str
    own: bool = False
    fingerprint: str = ""

    def __str__(self) -> str:
        return f"{self.scheme.value}:{self.target}" if self.is_local else self.target

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach it."""
        return self.scheme in (Scheme.UNIX, Scheme.PIPE)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Also accepts Ollama's short forms: `host`, `host:port`, `:port`. Raises ConfigError.

        >>> [str(Address.parse(text)) for text in ("10.0.0.7", ":8080", "https://box", "unix:/run/oprel.sock")]
        ['http://10.0.0.7:11435', 'http://127.0.0.1:8080', 'https://box:443', 'unix:/run/oprel.sock']
        """
        if text.startswith("unix:"):
            return cls(Scheme.UNIX, re.sub("^/+", "/", text.removeprefix("unix:")))
        if pipe := PIPE.fullmatch(text):
            return cls(Scheme.PIPE, pipe[1])
        if scheme_of(text) not in TCP_SCHEMES:
            from oprel.client.transports import transports

            if scheme_of(text) in transports():
                return cls(Scheme.PACKAGE, text)
        from urllib.parse import urlsplit

        text, _, fragment = text.partition("#")
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port or {"https": 443}.get(parts.scheme, DEFAULT_PORT if "://" not in text else 80)
            if parts.scheme not in TCP_SCHEMES:
                raise ValueError(parts.scheme)
        except ValueError as error:
            step = "Write http://HOST:PORT, unix:/PATH or pipe:NAME."
            raise ConfigError(f"{text!r} is not a daemon's address", step) from error
        host = parts.hostname or "127.0.0.1"
        target = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
        return cls(Scheme.HTTP, target, fingerprint=_fingerprint(fragment, parts.scheme) if fragment else "")

    @classmethod
    def of(cls, config: Config) -> "Address":
        """The configured daemon, or this machine's own."""
        return cls.at(config.host, config) if config.host else local_address(config)

    @classmethod
    def at(cls, text: str, config: Config) -> "Address":
        """The same as `parse`, and whether it is where this machine's own daemon listens. Raises ConfigError."""
        address = cls.parse(text)
        return address._replace(own=_is_own(address, config))


def local_address(config: Config) -> Address:
    """Where clients reach this machine's own daemon first: its Unix socket, or its pipe."""
    if systems.HAS_UNIX_SOCKETS:
        return Address(Scheme.UNIX, str(config.socket_path), own=True)
    from oprel.core.home import own_pipe

    return Address(Scheme.PIPE, own_pipe(config), own=True)


def _is_own(address: Address, config: Config) -> bool:
    """Whether the daemon of this configuration listens there."""
    if address.is_local:
        further = (text.partition("?")[0] for text in config.further_addresses)
        return address[:2] == local_address(config)[:2] or address in map(Address.parse, further)
    return address.scheme is Scheme.HTTP and address.target in (
        f"http://{host}:{config.server_port}" for host in LOOPBACK if config.server_host in (*LOOPBACK, "0.0.0.0", "::")
    )


def _fingerprint(fragment: str, scheme: str) -> str:
    """The end of an address, `sha256=HEX`, as 64 digits. Raises ConfigError.

    >>> _fingerprint("sha256=" + ":".join(["AB"] * 32), "https") == "ab" * 32
    True
    """
    kind, _, digits = fragment.partition("=")
    digits = digits.replace(":", "").lower()
    if kind.lower() != "sha256" or not re.fullmatch("[0-9a-f]{64}", digits):
        raise ConfigError(
            f"#{fragment} is not the fingerprint of a certificate", "Write https://HOST:PORT#sha256=FINGERPRINT."
        )
    if scheme != "https":
        raise ConfigError("only an https:// address has the fingerprint of a certificate", "Write https://.")
    return digits


def key_for(address: Address, config: Config) -> str:
    """The key to send to `address`; empty without one. This machine's own daemon knows its user without a key.

    OPREL_API_KEY and OLLAMA_API_KEY belong to the configured daemon, if one is configured, and go nowhere else.
    """
    if address.scheme is Scheme.UNIX and address.target == str(config.socket_path):
        return ""
    from oprel.core.configuration.environment import client_key, ollama_key
    from oprel.core.state.client_keys import client_keys

    is_configured = not config.host or str(Address.parse(config.host)) == str(address)
    stored = client_keys(config.home_dir).get(str(address), "")
    return (client_key() if is_configured else "") or stored or (ollama_key() if is_configured else "")


class NotReachedError(ConnectError):
    """No daemon answers at the address."""

    @classmethod
    def at(cls, address: Address) -> "NotReachedError":
        return cls(f"no daemon answers at {address}", "Start one there with `oprel serve`, or correct OPREL_HOST.")


def lost_connection(address: Address, why: str) -> ConnectError:
    return ConnectError(f"lost the connection to {address}: {why}", "Try again.")


def scheme_of(address: str) -> str:
    """The part before `://` in lower case; "" without one.

    >>> scheme_of("SSH://box/run/oprel.sock"), scheme_of("box:8080")
    ('ssh', '')
    """
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator else ""
