"""Finds out who sends a request: from its connection, and from headers only what lowers its rights."""

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from oprel.core.configuration.addresses import Proxies, is_loopback
from oprel.server.access import forwarded
from oprel.server.access.caller import Caller, CallerKind, Key, Policy, rights
from oprel.server.access.peers import OWN_USER, PEER, ROOT, Peer

CALLER = "oprel.caller"  # the key of a request's Caller in its ASGI scope
NOT_ONE_PAGE = ("null", "file://")  # origins that pages have in common
TYPED = ("", "none")  # of Sec-Fetch-Site: no browser, or an address that its user typed


async def identify(scope: Scope, key: Key | None, policy: Policy, proxies: Proxies) -> Caller:
    """The caller of a request whose Origin, if it has one, is allowed."""
    headers = Headers(scope=scope)
    address = _host(scope, "client")
    if is_forwarded := forwarded.is_forwarded(headers):
        address = _named_by_proxy(scope, headers, proxies) if proxies.trusts(address) else address
    if key:
        return Caller(None, key.access, address=address, key=key)
    if is_forwarded:  # also of a proxy that the own user runs
        kind, user = CallerKind.OTHER_MACHINE, None
    else:
        kind, user = await _by_connection(scope, address)
    page = _page(headers) if kind is CallerKind.OWN_USER else None
    if page is not None:
        kind = CallerKind.WEB_PAGE
    return Caller(kind, rights(kind, None, policy), user=user, address=address, page=page or "")


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request that the Guard let pass."""
    caller = connection.scope[CALLER]
    assert isinstance(caller, Caller)
    return caller


def _named_by_proxy(scope: Scope, headers: Headers, proxies: Proxies) -> str:
    """The client's address, which the request then has, as it has the client's scheme."""
    address = forwarded.client_address(headers, proxies)
    scope["client"] = (address, 0)
    scope["scheme"] = forwarded.scheme(headers) or scope.get("scheme", "http")
    return address


async def _by_connection(scope: Scope, address: str) -> tuple[CallerKind, int | None]:
    peer = scope.get(PEER)
    if not isinstance(peer, Peer):  # it comes from this process
        is_own = not address or is_loopback(address)
        return (CallerKind.OWN_USER if is_own else CallerKind.OTHER_MACHINE), None
    user = await peer.user()
    if user in (OWN_USER, ROOT):
        return CallerKind.OWN_USER, user
    is_here = user is not None or not address or is_loopback(address) or address == _host(scope, "server")
    return (CallerKind.LOCAL_USER if is_here else CallerKind.OTHER_MACHINE), user


def _page(headers: Headers) -> str | None:
    """The origin of the page that sends a request; "" for one that does not say it, None for other programs."""
    if origin := headers.get("origin"):
        return "" if origin in NOT_ONE_PAGE else origin
    return None if headers.get("sec-fetch-site", "") in TYPED else ""


def _host(scope: Scope, end: str) -> str:
    return scope[end][0] if scope.get(end) else ""
