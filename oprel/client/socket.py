"""Transports over a Unix socket."""

import socket

import httpx


def listens(path: str) -> bool:
    """True when a process accepts connections at `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def open_socket(path: str) -> httpx.BaseTransport:
    return _Transport(path)


def open_socket_async(path: str) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(uds=path)


class _Transport(httpx.HTTPTransport):
    """Looks before it connects: httpcore leaves the socket of a failed attempt to the collector, which warns."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path)
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not listens(self._path):
            raise httpx.ConnectError(f"nothing listens on {self._path}", request=request)
        return super().handle_request(request)
