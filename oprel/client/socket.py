"""Transports over a Unix socket."""

import httpx


def open_socket(path: str) -> httpx.BaseTransport:
    return httpx.HTTPTransport(uds=path)


def open_socket_async(path: str) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(uds=path)
