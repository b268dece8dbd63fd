"""Transports from installed packages, by the scheme of their addresses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import httpx

from oprel.utils.entry_points import load_plugins

GROUP = "oprel.transports"


@dataclass(frozen=True)
class Transport:
    """A transport to daemons at `scheme://...`.

    On a client's first request `open` or `open_async` receives the address as the user wrote it, and raises
    httpx.ConnectError if it cannot be reached. Closing the transport undoes everything `open` did. Requests are
    addressed to http://localhost; the transport decides which daemon that is.
    """

    scheme: str
    open: Callable[[str], httpx.BaseTransport]
    open_async: Callable[[str], httpx.AsyncBaseTransport]


@cache
def transports() -> Mapping[str, Transport]:
    """All transports by scheme."""
    return {transport.scheme: transport for transport in load_plugins(GROUP, Transport)}
