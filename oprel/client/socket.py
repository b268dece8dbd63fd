"""Transports over a Unix socket."""

from pathlib import Path

import httpx

from oprel.utils.files import listens


def open_socket(path: str) -> httpx.BaseTransport:
    return _Transport(path)


def open_socket_async(path: str) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(uds=path, verify=False)


class _Transport(httpx.HTTPTransport):
    """Checks for a listener first: httpcore does not close the socket of a failed attempt, which causes a warning."""

    def __init__(self, path: str) -> None:
        super().__init__(uds=path, verify=False)  # no TLS here, so no certificates to load (25 ms)
        self._path = path

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not listens(Path(self._path)):
            raise httpx.ConnectError(f"nothing listens on {self._path}", request=request)
        return super().handle_request(request)
