"""Transports over TCP."""

import httpx


def open_http(*, secure: bool) -> httpx.BaseTransport:
    return httpx.HTTPTransport(verify=secure)  # loading certificates takes 25 ms


def open_http_async(*, secure: bool) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(verify=secure)
