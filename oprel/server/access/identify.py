"""Finds out who sends a request, from its connection and its headers."""

import ipaddress

from starlette.requests import HTTPConnection
from starlette.types import Scope

from oprel.server.access.caller import Caller, CallerKind, Key, Policy, rights

CALLER = "oprel.caller"  # the key of a request's Caller in its ASGI scope


def identify(scope: Scope, key: Key | None, policy: Policy) -> Caller:
    """The caller of a request whose Origin, if it has one, is allowed."""
    connection = HTTPConnection(scope)
    address = connection.client.host if connection.client else ""
    kind = _kind(address, has_origin="origin" in connection.headers)
    return Caller(kind, rights(kind, key, policy), address=address, key=key)


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request that the Guard let pass."""
    caller = connection.scope[CALLER]
    assert isinstance(caller, Caller)
    return caller


def _kind(address: str, *, has_origin: bool) -> CallerKind:
    if address and not is_loopback(address):
        return CallerKind.OTHER_MACHINE
    return CallerKind.WEB_PAGE if has_origin else CallerKind.OWN_USER


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
