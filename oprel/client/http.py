"""Transports over TCP."""

import httpx


def open_http() -> httpx.BaseTransport:
    return httpx.HTTPTransport()


def open_http_async() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport()
