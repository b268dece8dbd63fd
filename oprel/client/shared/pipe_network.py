"""httpx over named pipes: its connections are files of the system, read by threads where the client is asynchronous."""

import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpcore
import httpx

from oprel.utils.process.pipes import PipeEnd, system_pipes

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

ALONE = httpx.Limits(max_keepalive_connections=0)  # whether the other end was closed shows only when it is read


def pipe_transport(name: str) -> httpx.HTTPTransport:
    transport = httpx.HTTPTransport(uds=name, verify=False, limits=ALONE)
    transport._pool._network_backend = _PipeNetwork()  # httpx has no argument for it
    return transport


def async_pipe_transport(name: str) -> httpx.AsyncHTTPTransport:
    transport = httpx.AsyncHTTPTransport(uds=name, verify=False, limits=ALONE)
    pool = transport._pool
    pool._network_backend = _AsyncPipeNetwork(pool._network_backend)
    return transport


class _PipeNetwork(httpcore.NetworkBackend):
    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: "Iterable[SOCKET_OPTION] | None" = None
    ) -> "_PipeNetworkStream":
        try:
            return _PipeNetworkStream(system_pipes().connect(path, timeout))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class _PipeNetworkStream(httpcore.NetworkStream):
    def __init__(self, end: PipeEnd) -> None:
        self._end = end

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        buffer = bytearray(max_bytes)
        try:
            self._end.settimeout(timeout)
            return bytes(memoryview(buffer)[: self._end.recv_into(buffer)])
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        try:
            self._end.settimeout(timeout)
            while rest:
                rest = rest[self._end.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def interrupt(self) -> None:
        """Let a thread that waits for the pipe end."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:  # it was closed by the other side
            return

    def close(self) -> None:
        self._end.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("pipes have no TLS")

    def get_extra_info(self, info: str) -> Any:
        return None


class _AsyncPipeNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network = network

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncPipeStream(await anyio.to_thread.run_sync(_PipeNetwork().connect_unix_socket, path, timeout))

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _AsyncPipeStream(httpcore.AsyncNetworkStream):
    """A cancelled operation ends its thread; the connection is closed then anyway."""

    def __init__(self, stream: _PipeNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore passes it
        try:
            return await anyio.to_thread.run_sync(self._stream.read, max_bytes, timeout, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self._stream.interrupt()
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore passes it
        try:
            await anyio.to_thread.run_sync(self._stream.write, buffer, timeout, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self._stream.interrupt()
            raise

    async def aclose(self) -> None:
        self._stream.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("pipes have no TLS")

    def get_extra_info(self, info: str) -> Any:
        return None
