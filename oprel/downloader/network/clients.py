"""The HTTP clients for downloads: where they connect, by which proxy, whom they trust, and which answers they take.

httpx reads `NO_PROXY` without networks and fails at `[::1]`, knows no `socks://`, and trusts only its own list of
authorities; so the proxies and certificates are ours, for the hub's library too.
"""

import re
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpcore
import httpx
from httpcore._backends.sync import SyncBackend

from oprel.core.configuration.environment import network_variables
from oprel.core.exceptions import DownloadError
from oprel.downloader.network.failures import BusyProxy
from oprel.downloader.network.proxies import Proxy, ProxyRules, proxy_rules
from oprel.downloader.network.public_only import NEXT_ADDRESS_SECONDS, PublicOnly
from oprel.downloader.network.unpacking import PACKINGS, BlockingUnpacked, Unpacked, packing, plain_headers

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

READ_BYTES = 256 * 1024
KEPT_ALIVE = 32  # connections: enough for a few transfers
CONNECTING = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)
NEEDS_LOGIN = "407"
_BUSY = re.compile(r"(429|5\d\d)\b")
PLAIN = {"Accept-Encoding": "identity"}


def open_client(network: PublicOnly | None = None) -> httpx.AsyncClient:
    """A client without a connection limit, since transfers limit themselves. `network` says where it may connect.

    Blocks to read the trusted certificates.
    """
    # httpcore has no setting for it. Four times its default saves a fast transfer a fifth of its CPU time.
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES
    return httpx.AsyncClient(transport=Routed(_rules(), network), headers=PLAIN)


def open_blocking_client(headers: Mapping[str, str], seconds: float | None) -> httpx.Client:
    """The same for code that blocks. `seconds`: the limit of each step of a request, None without one."""
    transport = BlockingRouted(_rules())
    return httpx.Client(transport=transport, headers={**PLAIN, **headers}, timeout=seconds, follow_redirects=True)


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities in the files that the user names, else the system's and those that come with certifi.

    Raises DownloadError.
    """
    import certifi

    named = [path for name, path in network_variables().items() if path and not name.lower().endswith("_proxy")]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not named:
        context.load_default_certs()
    for path in named or [certifi.where()]:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            raise DownloadError(f"the certificates in {path} cannot be read: {error.strerror or error}") from error
    return context


def _rules() -> ProxyRules:
    """The proxies of the environment; without any those of the system, on macOS and Windows."""
    variables = network_variables()
    system = {} if sys.platform == "linux" else {f"{scheme}_proxy": url for scheme, url in getproxies().items()}
    return proxy_rules(system | variables)


LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)


class Routed(httpx.AsyncBaseTransport):
    """Sends each request directly or through its proxy.

    Nothing packed is requested. What comes packed all the same is unpacked if it is gzip, else refused. A redirect
    loses its body, which httpx would read whole.
    """

    def __init__(self, rules: ProxyRules, network: PublicOnly | None) -> None:
        self._rules, self._network, self._trusted = rules, network, _trusted()
        self._transports: dict[Proxy | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._rules.proxy_for(request.url)
        if proxy and self._network:
            await self._network.check_name(request.url.host, request.url.port or 0)
        try:
            response = await self._transport(proxy).handle_async_request(request)
        except CONNECTING as error:
            if proxy is None:
                raise
            raise _at_proxy(proxy, error) from error
        if proxy and response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            await response.aclose()
            raise _at_proxy(proxy, httpx.ProxyError(NEEDS_LOGIN))
        if response.has_redirect_location:
            await response.aclose()
            return httpx.Response(response.status_code, headers=response.headers, extensions=response.extensions)
        if not (coding := packing(response)):
            return response
        if coding not in PACKINGS or not isinstance(response.stream, httpx.AsyncByteStream):
            await response.aclose()
            raise _refused(request, coding)
        unpacked, extensions = Unpacked(response.stream), response.extensions
        return httpx.Response(
            response.status_code, headers=plain_headers(response), stream=unpacked, extensions=extensions
        )

    def _transport(self, proxy: Proxy | None) -> httpx.AsyncHTTPTransport:
        if proxy not in self._transports:
            made = httpx.AsyncHTTPTransport(self._trusted, limits=LIMITS, proxy=proxy.url if proxy else None)
            if self._network and not proxy:
                made._pool._network_backend = self._network  # httpx has no parameter for it
            self._transports[proxy] = made
        return self._transports[proxy]

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()


class BlockingRouted(httpx.BaseTransport):
    """`Routed` for code that blocks. It also tries the next address of a host when one does not answer."""

    def __init__(self, rules: ProxyRules) -> None:
        self._rules, self._trusted = rules, _trusted()
        self._transports: dict[Proxy | None, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        proxy = self._rules.proxy_for(request.url)
        try:
            response = self._transport(proxy).handle_request(request)
        except CONNECTING as error:
            if proxy is None:
                raise
            raise _at_proxy(proxy, error) from error
        if proxy and response.status_code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            raise _at_proxy(proxy, httpx.ProxyError(NEEDS_LOGIN))
        if not (coding := packing(response)):
            return response
        if coding not in PACKINGS or not isinstance(response.stream, httpx.SyncByteStream):
            response.close()
            raise _refused(request, coding)
        unpacked, extensions = BlockingUnpacked(response.stream), response.extensions
        return httpx.Response(
            response.status_code, headers=plain_headers(response), stream=unpacked, extensions=extensions
        )

    def _transport(self, proxy: Proxy | None) -> httpx.HTTPTransport:
        if proxy not in self._transports:
            made = httpx.HTTPTransport(self._trusted, limits=LIMITS, proxy=proxy.url if proxy else None)
            made._pool._network_backend = EachAddress()
            self._transports[proxy] = made
        return self._transports[proxy]

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


class EachAddress(SyncBackend):
    """Connects to the first address of a host that answers; anyio does so for code that does not block."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.NetworkStream:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        *others, last = dict.fromkeys(str(info[4][0]) for info in infos)
        for address in others:
            try:
                return super().connect_tcp(address, port, NEXT_ADDRESS_SECONDS, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(last, port, timeout, local_address, socket_options)


def _at_proxy(proxy: Proxy, error: httpx.TransportError) -> httpx.ProxyError:
    """The error of a request that failed at its proxy. What the proxy answered is the start of the error's text."""
    shown, why = httpx.URL(proxy.url), str(error) or type(error).__name__
    place = f"the proxy of {proxy.variable} ({shown.host}:{shown.port})"
    if why.startswith(NEEDS_LOGIN):
        return httpx.ProxyError(f"{place} asks for a login (HTTP 407): write it as http://USER:PASSWORD@HOST:PORT")
    if _BUSY.match(why):
        return BusyProxy(f"{place} answered HTTP {why}")
    return httpx.ProxyError(f"{place}: {why}")


def _refused(request: httpx.Request, coding: str) -> DownloadError:
    return DownloadError(f"{request.url.host} sends a packed answer ({coding}), which was not requested")
