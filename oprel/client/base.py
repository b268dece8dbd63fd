"""Where a daemon is, and what goes wrong on the way to it."""

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
# Answers have no time limit: a model may think long, and a queue may be long. Only connecting is bounded.
TIMEOUT = httpx.Timeout(None, connect=10.0)
# httpx wants a URL; over a Unix socket or in-process its host is only a name.
LOCAL_URL = "http://localhost"
OVER_TCP = ("", "http", "https")  # schemes: "" of the short forms


class Scheme(Enum):
    HTTP = "http"
    UNIX = "unix"
    ANNOUNCED = "announced"  # one of a package's: `transports` has them by the address's own scheme


@dataclass(frozen=True)
class Address:
    """`http://HOST:PORT`, `unix:/PATH`, or what a package takes for its own scheme.

    `own` = this machine's own daemon, which clients start when it is down.
    """

    scheme: Scheme
    target: str
    own: bool = False

    def __str__(self) -> str:
        return f"unix:{self.target}" if self.scheme is Scheme.UNIX else self.target

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Also takes Ollama's short forms: `host`, `host:port`, `:port`. Raises ConfigError.

        >>> [str(Address.parse(text)) for text in ("10.0.0.7", ":8080", "https://box", "unix:/run/oprel.sock")]
        ['http://10.0.0.7:11435', 'http://127.0.0.1:8080', 'https://box:443', 'unix:/run/oprel.sock']
        """
        if text.startswith("unix:"):
            return cls(Scheme.UNIX, re.sub("^/+", "/", text.removeprefix("unix:")))
        if (scheme := scheme_of(text)) not in OVER_TCP and scheme in transports():
            return cls(Scheme.ANNOUNCED, text)
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port or {"https": 443}.get(parts.scheme, DEFAULT_PORT if "://" not in text else 80)
            if parts.scheme not in OVER_TCP:
                raise ValueError(parts.scheme)
        except ValueError as error:
            raise ConfigError(f"{text!r} is no daemon's address", "Write http://HOST:PORT or unix:/PATH.") from error
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
    """httpx's errors as ours, in one place."""
    try:
        yield
    except httpx.ConnectError as error:
        raise ConnectError(
            f"no daemon answers at {address}", "Start one there with `oprel serve`, or correct OPREL_HOST."
        ) from error
    except httpx.TransportError as error:
        raise ConnectError(
            f"the connection to {address} broke: {str(error) or type(error).__name__}", "Ask again."
        ) from error
