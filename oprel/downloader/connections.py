"""The HTTP client for downloads, where it may connect, and messages for connection failures.

The machine's own user may have anything fetched. For everyone else, such as a web page, the daemon connects to public
addresses only: it must not be a way to what only this machine can reach, or tell which of its ports are open
(CVE-2026-5530 of Ollama). Each redirect and each answer of the DNS is checked, where the connection is made.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore
import httpx
from httpcore._backends.auto import AutoBackend

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

READ_BYTES = 256 * 1024
KEPT_ALIVE = 32  # connections: enough for a few transfers
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
DEFAULT_PORTS = {"http": 80, "https": 443}


def is_public(address: IPAddress) -> bool:
    """Whether an address is neither this machine's nor a private network's, also one that contains another.

    >>> [is_public(ipaddress.ip_address(text)) for text in ("8.8.8.8", "::ffff:127.0.0.1", "64:ff9b::7f00:1")]
    [True, False, False]
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    within = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        within.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if address.ipv4_mapped is None and address not in NAT64 and not (address.is_global and not address.is_multicast):
        return False
    return all(is_public(part) for part in within if part is not None)


def exempt_hosts(config: Config) -> frozenset[tuple[str, int]]:
    """Host and port of the hub and the registries that the user configured; port 0 stands for any."""
    pairs = set[tuple[str, int]]()
    for url in (config.hf_endpoint, config.ollama_registry):
        parts = urlsplit(url)
        pairs.add(((parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme, 0)))
    for text in filter(None, (host.strip() for host in config.insecure_registries.split(","))):
        parts = urlsplit(f"//{text}")
        pairs.add(((parts.hostname or "").lower(), parts.port or 0))
    return frozenset(pairs)


class PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to public addresses, and to `exempt` hosts. Raises DownloadError for others, before it connects."""

    def __init__(self, exempt: frozenset[tuple[str, int]]) -> None:
        self._exempt = exempt
        self._network = AutoBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        local_address: str | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self.checked(host, port)
        return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        raise DownloadError("downloads use no Unix sockets")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def checked(self, host: str, port: int) -> str:
        """An address of the host to connect to. Raises DownloadError, and httpcore.ConnectError if there is none."""
        if self._exempt & {(host.lower(), port), (host.lower(), 0)}:
            return host
        addresses = await _resolved(host, port)
        if not all(map(is_public, addresses)):
            raise DownloadError(
                f"{host} is no public address, and only this machine's own user may have oprel connect to others",
                "Run `oprel pull` on the machine itself, or name the host in `insecure_registries`.",
            )
        return str(addresses[0])


async def _resolved(host: str, port: int) -> Sequence[IPAddress]:
    """Raises httpcore.ConnectError if there is no address."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]


def open_client(network: PublicOnly | None = None) -> httpx.AsyncClient:
    """A client without a connection limit, since transfers limit themselves. `network` says where it may connect."""
    # httpcore has no setting for it. Four times its default saves a fast transfer a fifth of its CPU time.
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)
    client = httpx.AsyncClient(limits=limits, headers={"Accept-Encoding": "identity"})
    # A transport of our own would lose the proxies of the environment.
    transports = {url: PlainAnswers(transport, network) for url, transport in client._mounts.items() if transport}
    client._mounts.update(transports)
    client._transport = PlainAnswers(client._transport, network)
    return client


class PlainAnswers(httpx.AsyncBaseTransport):
    """Answers as they were sent: a small packed one may fill the memory, so none is unpacked (CVE-2024-12886).

    A redirect has no body: httpx would read all of it.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, network: PublicOnly | None) -> None:
        self._inner = inner
        self._checks: PublicOnly | None = network  # what a proxy connects to
        if (
            network
            and isinstance(inner, httpx.AsyncHTTPTransport)
            and type(inner._pool) is httpcore.AsyncConnectionPool
        ):
            inner._pool._network_backend = network  # httpx has no parameter for it
            self._checks = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._checks:
            with contextlib.suppress(httpcore.ConnectError):  # a name that the proxy alone knows
                await self._checks.checked(request.url.host, request.url.port or 0)
        response = await self._inner.handle_async_request(request)
        if response.has_redirect_location:
            await response.aclose()
            return httpx.Response(response.status_code, headers=response.headers, extensions=response.extensions)
        if (coding := response.headers.get("content-encoding", "identity")) != "identity":
            await response.aclose()
            raise DownloadError(f"{request.url.host} sends a packed answer ({coding[:20]}), which was not requested")
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


def reason(error: Exception) -> str:
    """Why a server could not be reached, in words."""
    if is_unknown_host(error):
        return "the host name is unknown"
    first = str(error).partition("\n")[0]  # further lines are httpx's hints for developers
    return re.sub(r"^\[Errno -?\d+\] ", "", first) or type(error).__name__


def is_unknown_host(error: BaseException) -> bool:
    """True if a host name could not be resolved: it is wrong, or there is no network."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, socket.gaierror) or (cause is not None and is_unknown_host(cause))
