"""Where downloads for others than this machine's own user may connect.

The machine's own user may have anything fetched. For everyone else, such as a web page, the daemon connects to public
addresses only: it must not be a way to what only this machine can reach, or tell which of its ports are open
(CVE-2026-5530 of Ollama). Each redirect and each answer of the DNS is checked, where the connection is made.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpcore
from httpcore._backends.auto import AutoBackend

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

NEXT_ADDRESS_SECONDS = 2.0  # for one address of a host before the next: some networks swallow what is sent by IPv6
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
        *others, last = await self._checked(host, port)
        for address in others:
            try:
                return await self._network.connect_tcp(
                    address, port, NEXT_ADDRESS_SECONDS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(last, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        raise DownloadError("downloads use no Unix sockets")

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def check_name(self, host: str, port: int) -> None:
        """Raises DownloadError if the host is not public. One that a proxy alone can resolve is left to it."""
        with contextlib.suppress(httpcore.ConnectError):
            await self._checked(host, port)

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        """The addresses of the host. Raises DownloadError, and httpcore.ConnectError if there are none."""
        if self._exempt & {(host.lower(), port), (host.lower(), 0)}:
            return [host]
        addresses = await _resolved(host, port)
        if not all(map(is_public, addresses)):
            raise DownloadError(
                f"{host} is no public address, and only this machine's own user may have oprel connect to others",
                "Run `oprel pull` on the machine itself, or name the host in `insecure_registries`.",
                fault="security",
            )
        return list(dict.fromkeys(map(str, addresses)))


async def _resolved(host: str, port: int) -> Sequence[IPAddress]:
    """Raises httpcore.ConnectError if there is no address."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(str(error)) from error
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
