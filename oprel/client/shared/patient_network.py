"""Waits for answers of a daemon as long as that lives: its silences may be long, as models load, but not endless.

httpx only has a limit for each silence, which would end honest answers. So the network behind its transports reads
in steps, and asks the daemon for a sign of life between them.
"""

import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import httpcore
import httpx

from oprel.client.plain.daemon_state import QUIET_SECONDS, SilenceChecks

if TYPE_CHECKING:
    from httpcore._backends.base import SOCKET_OPTION

WRITE_SECONDS = 600.0  # for a piece of a request, where its client sets no limit

NewSilenceChecks = Callable[[], SilenceChecks]


def patient(transport: httpx.HTTPTransport, new_checks: NewSilenceChecks) -> httpx.HTTPTransport:
    """The same transport. Each wait has a new `new_checks()`, which is called at each silence, and may raise."""
    pool = transport._pool  # httpx has no argument for it
    pool._network_backend = _PatientNetwork(pool._network_backend, new_checks)
    return transport


def patient_async(transport: httpx.AsyncHTTPTransport, new_checks: NewSilenceChecks) -> httpx.AsyncHTTPTransport:
    pool = transport._pool
    pool._network_backend = _AsyncPatientNetwork(pool._network_backend, new_checks)
    return transport


def _step(left: float | None) -> float:
    return QUIET_SECONDS if left is None else min(QUIET_SECONDS, left)


class _PatientNetwork(httpcore.NetworkBackend):
    def __init__(self, network: httpcore.NetworkBackend, new_checks: NewSilenceChecks) -> None:
        self._network = network
        self._new_checks = new_checks

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.NetworkStream:
        stream = self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _PatientStream(stream, self._new_checks)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: "Iterable[SOCKET_OPTION] | None" = None
    ) -> httpcore.NetworkStream:
        return _PatientStream(self._network.connect_unix_socket(path, timeout, socket_options), self._new_checks)

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)


class _PatientStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, new_checks: NewSilenceChecks) -> None:
        self._stream = stream
        self._new_checks = new_checks

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        check = self._new_checks()
        while True:
            step = _step(timeout)
            try:
                return self._stream.read(max_bytes, step)
            except httpcore.ReadTimeout:
                if timeout is not None and (timeout := timeout - step) <= 0:
                    raise
            check()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, WRITE_SECONDS if timeout is None else timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _PatientStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._new_checks)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncPatientNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, network: httpcore.AsyncNetworkBackend, new_checks: NewSilenceChecks) -> None:
        self._network = network
        self._new_checks = new_checks

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        local_address: str | None = None,
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _AsyncPatientStream(stream, self._new_checks)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
        socket_options: "Iterable[SOCKET_OPTION] | None" = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._network.connect_unix_socket(path, timeout, socket_options)
        return _AsyncPatientStream(stream, self._new_checks)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


class _AsyncPatientStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, new_checks: NewSilenceChecks) -> None:
        self._stream = stream
        self._new_checks = new_checks

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  httpcore passes it
        check = self._new_checks()
        while True:
            step = _step(timeout)
            try:
                return await self._stream.read(max_bytes, step)
            except httpcore.ReadTimeout:
                if timeout is not None and (timeout := timeout - step) <= 0:
                    raise
            await anyio.to_thread.run_sync(check)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109  httpcore passes it
        await self._stream.write(buffer, WRITE_SECONDS if timeout is None else timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore passes it
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _AsyncPatientStream(stream, self._new_checks)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
