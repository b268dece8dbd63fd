"""The HTTP client of downloads, and why it could not reach a server."""

import re
import socket

import httpcore
import httpx

READ_BYTES = 256 * 1024
KEPT_ALIVE = 32  # connections: as many as a few transfers have


def open_client() -> httpx.AsyncClient:
    """A client without a bound on its connections: transfers have their own."""
    # There is no setting for it. With four times httpcore's own figure a fast transfer takes a fifth less CPU time.
    httpcore.AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE))


def reason(error: Exception) -> str:
    """Why a server could not be spoken to, in words."""
    if is_unknown_host(error):
        return "no host of that name is found"
    first = str(error).partition("\n")[0]  # httpx then says where to read about it, which is not for users
    return re.sub(r"^\[Errno -?\d+\] ", "", first) or type(error).__name__


def is_unknown_host(error: BaseException) -> bool:
    """True when nobody could tell the address of a name: it is wrong, or there is no network."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, socket.gaierror) or (cause is not None and is_unknown_host(cause))
