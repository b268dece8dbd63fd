"""Requests that a proxy sends for others, and what trusted proxies say about these."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from starlette.datastructures import Headers

from oprel.core.configuration.addresses import Proxies

# No client but a proxy sends these. One of them is enough: the request is somebody else's.
BY_PROXIES = frozenset(
    (
        *("forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip"),
        *("fastly-client-ip", "fly-client-ip", "x-azure-clientip", "x-appengine-user-ip", "via", "cdn-loop"),
        *("x-envoy-external-address", "x-original-forwarded-for", "x-original-host", "tailscale-user-login"),
    )
)
X_FORWARDED = "x-forwarded"  # -for, -host, -proto, -port, -server, -prefix, -user and what else there is
ELEMENT = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s]*)', re.IGNORECASE)  # of Forwarded, RFC 7239
QUOTED_OR_NOT = re.compile(r'(?:"[^"]*"|[^",])+')  # what is between commas


def is_forwarded(headers: Headers) -> bool:
    """Also by names that are written with underscores, as gateways of CGI and WSGI read them."""
    names = (name.decode("latin-1").lower().replace("_", "-") for name, _ in headers.raw)
    return any(name in BY_PROXIES or name.startswith(X_FORWARDED) for name in names)


def client_address(headers: Headers, proxies: Proxies) -> str:
    """The address of the client by the headers of a trusted proxy; "" if they do not name it.

    Each proxy adds at the end, so the last one that is not a proxy of ours is the client: it made up what is before it.

    >>> from oprel.core.configuration.addresses import parse_proxies
    >>> ours = parse_proxies("10.0.0.0/8")
    >>> client_address(Headers({"x-forwarded-for": "127.0.0.1, 203.0.113.7, 10.0.0.2"}), ours)
    '203.0.113.7'
    >>> client_address(Headers({"forwarded": 'for=192.0.2.60, for="[2001:db8::1]:47"'}), ours)
    '2001:db8::1'
    """
    address = ""
    for text in reversed([*_hops(headers)]):
        address = _address(text)
        if not address or not proxies.trusts(address):
            break
    return address


def scheme(headers: Headers) -> str:
    """How the client reached the proxy: http or https; "" if it does not say so."""
    name = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    return name if name in ("http", "https") else ""


def _hops(headers: Headers) -> Iterator[str]:
    """The clients of all proxies, the first one's first."""
    if lines := headers.getlist("x-forwarded-for"):  # nginx, Caddy and Tailscale send it, and leave Forwarded as it is
        yield from ",".join(lines).split(",")
        return
    for element in QUOTED_OR_NOT.findall(",".join(headers.getlist("forwarded"))):
        client = ELEMENT.search(element)
        yield client[1].strip('"') if client else ""


def _address(text: str) -> str:
    """An address without its port; "" for a name and for `unknown`."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ip_address(text))
    except ValueError:
        return ""
