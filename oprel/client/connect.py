"""Connects to daemons by httpx."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import httpx

from oprel.client.base import Address, NotReachedError, Scheme, lost_connection, scheme_of
from oprel.client.own_daemon import reached_again
from oprel.client.plain.daemon_state import PROBE_SECONDS, SilenceChecks, check_alive
from oprel.client.shared.patient_network import patient, patient_async
from oprel.client.shared.pipe_network import async_pipe_transport, pipe_transport
from oprel.client.transports import transports
from oprel.core.config import Config
from oprel.core.exceptions import ConnectError
from oprel.core.home import check_home
from oprel.utils.files import listens

if TYPE_CHECKING:
    import ssl

# Answers have no time limit, since models and queues can be slow; but a daemon that is silent must show that it lives.
TIMEOUT = httpx.Timeout(None, connect=10.0)
# httpx needs a URL; over a Unix socket or in-process its host is a dummy.
LOCAL_URL = "http://localhost"


@contextmanager
def connection_errors(address: Address) -> Iterator[None]:
    """Raise httpx's connection errors as ConnectError."""
    try:
        yield
    except httpx.ConnectError as error:
        if _is_secure(address):
            from oprel.client.shared.certificates import certificate_error

            if unusable := certificate_error(address, error):
                raise unusable from error
        raise NotReachedError.at(address) from error
    except httpx.TransportError as error:
        raise lost_connection(address, str(error) or type(error).__name__) from error


def open_transport(address: Address, config: Config) -> httpx.BaseTransport:
    """A transport to `address`; one to this machine's own daemon starts it when it does not answer."""
    if address.scheme is Scheme.PACKAGE:
        return transports()[scheme_of(address.target)].open(address.target)
    new_checks = _silence_checks(address, config)
    if address.own:
        check_home(config)
    if address.scheme is Scheme.HTTP:
        transport = httpx.HTTPTransport(verify=_verify(address, config))
    elif address.scheme is Scheme.PIPE:
        transport = pipe_transport(address.target)
    else:
        transport = _SocketTransport(address.target)
    return _Reconnecting(patient(transport, new_checks), address, config)


def open_transport_async(address: Address, config: Config) -> httpx.AsyncBaseTransport:
    if address.scheme is Scheme.PACKAGE:
        return transports()[scheme_of(address.target)].open_async(address.target)
    new_checks = _silence_checks(address, config)
    if address.own:
        check_home(config)
    if address.scheme is Scheme.HTTP:
        transport = httpx.AsyncHTTPTransport(verify=_verify(address, config))
    elif address.scheme is Scheme.PIPE:
        transport = async_pipe_transport(address.target)
    else:
        transport = httpx.AsyncHTTPTransport(uds=address.target, verify=False)
    return _AsyncReconnecting(patient_async(transport, new_checks), address, config)


def _is_secure(address: Address) -> bool:
    return address.scheme is Scheme.HTTP and address.target.startswith("https:")


def _verify(address: Address, config: Config) -> "ssl.SSLContext | bool":
    """False for plain HTTP, which needs no certificates."""
    if not _is_secure(address):
        return False
    from oprel.client.shared.certificates import tls_context  # imported late: most daemons speak plain HTTP

    return tls_context(address, config.own_certificate)


def _silence_checks(address: Address, config: Config) -> Callable[[], SilenceChecks]:
    if address.is_local:
        return lambda: SilenceChecks(partial(check_alive, address, config))
    return lambda: SilenceChecks(partial(_check_reachable, address, config))


def _check_reachable(address: Address, config: Config) -> None:
    """Ask whatever serves at `address` for any answer; one that refuses connections may let answers finish.

    Raises ConnectError.
    """
    import http.client  # imported late: few daemons are silent for so long
    import ssl
    from urllib.parse import urlsplit

    server = urlsplit(address.target)
    context = _verify(address, config)
    connection = (
        http.client.HTTPSConnection(server.netloc, timeout=PROBE_SECONDS, context=context)
        if isinstance(context, ssl.SSLContext)
        else http.client.HTTPConnection(server.netloc, timeout=PROBE_SECONDS)
    )
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (ConnectionRefusedError, ConnectionResetError, ssl.SSLError, http.client.HTTPException):
        return
    except OSError as error:
        step = "Look after it on its machine, or correct OPREL_HOST."
        raise ConnectError(f"the daemon at {address} does not answer any more", step) from error
    finally:
        connection.close()


class _SocketTransport(httpx.HTTPTransport):
    """Checks for a listener first: httpcore does not close the socket of a failed attempt, which causes a warning."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, verify=False)  # no TLS here, so no certificates to load
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not listens(Path(self._path)):
            raise httpx.ConnectError(f"nothing listens on {self._path}", request=request)
        return super().handle_request(request)


class _Reconnecting(httpx.BaseTransport):
    """Sends a request again where nothing accepted the connection, once a daemon may do so."""

    def __init__(self, inner: httpx.BaseTransport, address: Address, config: Config) -> None:
        self._inner = inner
        self._address, self._config = address, config

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except httpx.ConnectError:
            if not reached_again(self._address, self._config):
                raise
            return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class _AsyncReconnecting(httpx.AsyncBaseTransport):
    def __init__(self, inner: httpx.AsyncBaseTransport, address: Address, config: Config) -> None:
        self._inner = inner
        self._address, self._config = address, config

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except httpx.ConnectError:
            if not await anyio.to_thread.run_sync(reached_again, self._address, self._config):
                raise
            return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()
