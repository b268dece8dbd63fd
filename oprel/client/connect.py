"""Connects to daemons by httpx."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import httpx

from oprel.client.base import Address, NotReachedError, Scheme, lost_connection, scheme_of
from oprel.client.own_daemon import ensure_daemon
from oprel.client.transports import transports
from oprel.core.config import Config
from oprel.core.home import check_home
from oprel.utils.files import listens

# Answers have no time limit, since models and queues can be slow. Only connecting has one.
TIMEOUT = httpx.Timeout(None, connect=10.0)
# httpx needs a URL; over a Unix socket or in-process its host is a dummy.
LOCAL_URL = "http://localhost"


@contextmanager
def connection_errors(address: Address) -> Iterator[None]:
    """Raise httpx's connection errors as ConnectError."""
    try:
        yield
    except httpx.ConnectError as error:
        raise NotReachedError.at(address) from error
    except httpx.TransportError as error:
        raise lost_connection(address, str(error) or type(error).__name__) from error


def open_transport(address: Address, config: Config) -> httpx.BaseTransport:
    """A transport to `address`; one to this machine's own daemon starts it when it does not answer."""
    if address.scheme is Scheme.HTTP:
        return httpx.HTTPTransport(verify=_has_certificate(address))
    if address.scheme is Scheme.PACKAGE:
        return transports()[scheme_of(address.target)].open(address.target)
    transport = _SocketTransport(address.target)
    if not address.own:
        return transport
    check_home(config)
    return _Autostart(transport, config)


def open_transport_async(address: Address, config: Config) -> httpx.AsyncBaseTransport:
    if address.scheme is Scheme.HTTP:
        return httpx.AsyncHTTPTransport(verify=_has_certificate(address))
    if address.scheme is Scheme.PACKAGE:
        return transports()[scheme_of(address.target)].open_async(address.target)
    transport = httpx.AsyncHTTPTransport(uds=address.target, verify=False)
    if not address.own:
        return transport
    check_home(config)
    return _AutostartAsync(transport, config)


def _has_certificate(address: Address) -> bool:
    """False for plain HTTP: loading certificates takes 25 ms."""
    return address.target.startswith("https:")


class _SocketTransport(httpx.HTTPTransport):
    """Checks for a listener first: httpcore does not close the socket of a failed attempt, which causes a warning."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, verify=False)  # no TLS here, so no certificates to load
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not listens(Path(self._path)):
            raise httpx.ConnectError(f"nothing listens on {self._path}", request=request)
        return super().handle_request(request)


class _Autostart(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport, config: Config) -> None:
        self._inner = inner
        self._config = config

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except httpx.ConnectError:
            ensure_daemon(self._config)
            return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class _AutostartAsync(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, config: Config) -> None:
        self._inner = inner
        self._config = config

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except httpx.ConnectError:
            await anyio.to_thread.run_sync(ensure_daemon, self._config)
            return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
