"""The HTTP client for downloads, and messages for connection failures."""

import re
import socket

import httpcore
import httpx

READ_BYTES = 256 * 1024
KEPT_ALIVE = 32  # connections: enough for a few transfers


def open_client() -> httpx.AsyncClient:
    """A client without a connection limit, since transfers limit themselves."""
    # httpcore has no setting for it. Four times its default saves a fast transfer a fifth of its CPU time.
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE))


def reason(error: Exception) -> str:
    """Why a server could not be reached, in words."""
    if is_unknown_host(error):
        return "the host name is unknown"
    first = str(error).partition("\n")[0]  # further lines are httpx's hints for developers
    return re.sub(r"^\[Errno -?\d+\] ", "", first) or type(error).__name__


def is_unknown_host(error: BaseException) -> bool:
    """True if a host name could not be resolved: it is wrong, or there is no network."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, socket.gaierror) or (cause is not None and is_unknown_host(cause))
