"""Addresses of daemons, and connection errors."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

import httpx

from oprel.client.transports import scheme_of, transports
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError

DEFAULT_PORT = 11435
# Answers have no time limit, since models and queues can be slow. Only connecting has one.
TIMEOUT = httpx.Timeout(None, connect=10.0)
# httpx needs a URL; over a Unix socket or in-process its host is a dummy.
LOCAL_URL = "http://localhost"
TCP_SCHEMES = ("", "http", "https")  # "": the short forms


class Scheme(Enum):
    HTTP = "http"
    UNIX = "unix"
    PACKAGE = "package"  # of an installed package: `transports` maps the address's own scheme to it


@dataclass(frozen=True)
class Address:
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
        if (scheme := scheme_of(text)) not in TCP_SCHEMES and scheme in transports():
            return cls(Scheme.PACKAGE, text)
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


@contextmanager
def connection_errors(address: Address) -> Iterator[None]:
    """Raise httpx's connection errors as ConnectError."""
    try:
        yield
    except httpx.ConnectError as error:
        raise ConnectError(
            f"no daemon answers at {address}", "Start one there with `oprel serve`, or correct OPREL_HOST."
        ) from error
    except httpx.TransportError as error:
        raise ConnectError(
            f"lost the connection to {address}: {str(error) or type(error).__name__}", "Try again."
        ) from error
