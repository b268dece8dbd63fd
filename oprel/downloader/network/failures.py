"""Why a server could not be reached, in words. Pure."""

import re
import socket

import httpx

_UNTRUSTED = re.compile(r"CERTIFICATE_VERIFY_FAILED\] certificate verify failed: (?P<why>.*?)(?: \(_ssl.*)?$")


class BusyProxy(httpx.ProxyError):
    """A proxy could not connect just now."""


def reason(error: Exception) -> str:
    """Why a server could not be reached, in words."""
    if is_passing_failure(error):
        return "its name cannot be looked up just now: no name server answers"
    if is_unknown_host(error):
        return "the host name is unknown"
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return "it did not answer in time"
    if isinstance(error, httpx.TooManyRedirects):
        return "it redirects in a loop"
    if isinstance(error, httpx.UnsupportedProtocol):
        return "its address, or one that it redirects to, begins with neither http:// nor https://"
    first = str(error).partition("\n")[0]  # further lines are httpx's hints for developers
    if untrusted := _UNTRUSTED.search(first):
        return (
            f"its certificate is not trusted ({untrusted['why']}). If a proxy of your network opens TLS, set "
            "SSL_CERT_FILE to the file with that proxy's CA, then `oprel restart`"
        )
    if first.startswith("Invalid URL in location header"):
        return "it redirects to an invalid address"
    return re.sub(r"^\[Errno -?\d+\] ", "", first) or type(error).__name__


def is_unknown_host(error: BaseException) -> bool:
    """True if a host name could not be resolved: it is wrong, or there is no network."""
    return _lookup_failure(error) is not None


def is_passing_failure(error: BaseException) -> bool:
    """True if no name server answered, which says nothing about the name."""
    failure = _lookup_failure(error)
    return failure is not None and failure.errno == socket.EAI_AGAIN


def _lookup_failure(error: BaseException) -> socket.gaierror | None:
    if isinstance(error, socket.gaierror):
        return error
    cause = error.__cause__ or error.__context__
    return _lookup_failure(cause) if cause else None
