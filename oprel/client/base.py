"""Addresses of daemons, and the error when none answers there."""

import re
from enum import Enum
from typing import NamedTuple

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError

DEFAULT_PORT = 11435
TCP_SCHEMES = ("", "http", "https")  # "": the short forms


class Scheme(Enum):
    HTTP = "http"
    UNIX = "unix"
    PACKAGE = "package"  # of an installed package: `transports` maps the address's own scheme to it


class Address(NamedTuple):
    """`http://HOST:PORT`, `unix:/PATH`, or an address with the scheme of an installed package.

    `own`: this machine's own daemon, which clients start when it is down.
    """

    scheme: Scheme
    target: str
    own: bool = False

    def __str__(self) -> str:
        return f"unix:{self.target}" if self.scheme is Scheme.UNIX else self.target

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Also accepts Ollama's short forms: `host`, `host:port`, `:port`. Raises ConfigError.

        >>> [str(Address.parse(text)) for text in ("10.0.0.7", ":8080", "https://box", "unix:/run/oprel.sock")]
        ['http://10.0.0.7:11435', 'http://127.0.0.1:8080', 'https://box:443', 'unix:/run/oprel.sock']
        """
        if text.startswith("unix:"):
            return cls(Scheme.UNIX, re.sub("^/+", "/", text.removeprefix("unix:")))
        if scheme_of(text) not in TCP_SCHEMES:
            from oprel.client.transports import transports

            if scheme_of(text) in transports():
                return cls(Scheme.PACKAGE, text)
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port or {"https": 443}.get(parts.scheme, DEFAULT_PORT if "://" not in text else 80)
            if parts.scheme not in TCP_SCHEMES:
                raise ValueError(parts.scheme)
        except ValueError as error:
            raise ConfigError(f"{text!r} is not a daemon's address", "Write http://HOST:PORT or unix:/PATH.") from error
        host = parts.hostname or "127.0.0.1"
        return cls(
            Scheme.HTTP, f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}{parts.path.rstrip('/')}"
        )

    @classmethod
    def of(cls, config: Config) -> "Address":
        """The configured daemon, or this machine's own."""
        return cls.parse(config.host) if config.host else cls(Scheme.UNIX, str(config.socket_path), own=True)


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
