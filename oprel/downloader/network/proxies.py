"""The proxy of a request, from the environment as curl reads it. Pure.

`http_proxy`, `https_proxy` and `all_proxy` name proxies, `no_proxy` what is asked directly: a host with all below it,
an address, a network, each perhaps with a port, or `*`. Lower case wins. Source: curl(1), "ENVIRONMENT".
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from oprel.core.exceptions import DownloadError

# Desktops write `socks://`; a host alone is an HTTP proxy.
SCHEMES = {"": "http", "http": "http", "https": "https", "socks": "socks5", "socks5": "socks5", "socks5h": "socks5h"}
_ENTRY = re.compile(r"(?P<host>\[[^\]]*\](?:/\d+)?|[^:]*|[^:]*:.*:[^\]]*?)(?::(?P<port>\d+))?")


@dataclass(frozen=True)
class Proxy:
    """A proxy as the environment names it, and the variable that does."""

    address: str
    variable: str

    @property
    def url(self) -> str:
        """Its URL for httpx. Raises DownloadError, which names the variable, if it cannot be used."""
        scheme, separator, rest = self.address.rpartition("://")
        try:
            url = httpx.URL(f"{SCHEMES[scheme.lower()]}://{rest}")
            if url.host:
                return str(url)
        except (KeyError, httpx.InvalidURL):
            pass
        shown = f"{scheme}{separator}{rest.rpartition('@')[2]}"
        raise DownloadError(
            f"{self.variable} is {shown!r}, which is no proxy that oprel can use",
            "Write it as http://HOST:PORT or socks5://HOST:PORT, then `oprel restart`.",
        )


@dataclass(frozen=True)
class ProxyRules:
    """Proxies by the scheme of a URL, or "all"; `direct`: what is asked without one."""

    by_scheme: Mapping[str, Proxy]
    direct: tuple[str, ...] = ()

    def proxy_for(self, url: httpx.URL) -> Proxy | None:
        """The proxy for a request to that URL; None if there is none."""
        proxy = self.by_scheme.get(url.scheme) or self.by_scheme.get("all")
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        return None if any(_covers(entry, url.host, port) for entry in self.direct) else proxy


def proxy_rules(environ: Mapping[str, str]) -> ProxyRules:
    """The rules of an environment."""
    by_scheme = {scheme: _named(environ, f"{scheme}_proxy") for scheme in ("http", "https", "all")}
    direct = _named(environ, "no_proxy")
    return ProxyRules(
        {scheme: proxy for scheme, proxy in by_scheme.items() if proxy},
        tuple(re.split(r"[,\s]+", direct.address.lower().strip(", "))) if direct else (),
    )


def _named(environ: Mapping[str, str], variable: str) -> Proxy | None:
    for name in (variable, variable.upper()):
        if value := environ.get(name, "").strip():
            return Proxy(value, name)
    return None


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `no_proxy` names the host.

    >>> [_covers(entry, "a.b.org", 443) for entry in ("b.org", ".b.org", "*.b.org", ".org", "*", "org.b", "a.b.org:80")]
    [True, True, True, True, True, False, False]
    >>> [_covers(entry, "fe80::1", 443) for entry in ("[fe80::1]", "fe80::/10", "fd00::/8")]
    [True, True, False]
    """
    match = _ENTRY.fullmatch(entry)
    if match is None or not match["host"] or int(match["port"] or port) != port:
        return False
    name = match["host"].replace("[", "").replace("]", "")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:  # one of them is a name
        ending = name.removeprefix("*").removeprefix(".")
        return name == "*" or host == ending or host.endswith(f".{ending}")
