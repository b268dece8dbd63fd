"""Further ways to a daemon, which installed packages announce: each by the scheme of its addresses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import httpx

from oprel.utils.entry_points import load_entry_points

GROUP = "oprel.transports"


@dataclass(frozen=True)
class Transport:
    """The way to daemons at `scheme://...`.

    `open` and `open_async` get the address as the user wrote it, when a client first asks something, and raise
    httpx.ConnectError where it leads nowhere. Closing what they return undoes all they did. Requests are for
    http://localhost: which daemon that is, only the transport knows.
    """

    scheme: str
    open: Callable[[str], httpx.BaseTransport]
    open_async: Callable[[str], httpx.AsyncBaseTransport]


@cache
def transports() -> Mapping[str, Transport]:
    """By scheme."""
    return {transport.scheme: transport for transport in load_entry_points(GROUP, Transport)}


def scheme_of(address: str) -> str:
    """What is before `://`, in lower case as in every URL; "" without it.

    >>> scheme_of("SSH://box/run/oprel.sock"), scheme_of("box:8080")
    ('ssh', '')
    """
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator else ""
