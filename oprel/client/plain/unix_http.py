"""HTTP over a Unix socket, one connection for each request."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple


class ConnectionLost(OSError):
    """The daemon closed the connection before the end of its answer."""


class Incoming(NamedTuple):
    """An answer that arrives; `body` ends with the connection. `length` is None when it was not announced."""

    status: int
    length: int | None
    body: BinaryIO

    def content(self) -> bytes:
        """The whole body. Raises ConnectionLost."""
        content = self.body.read()
        if self.length is not None and len(content) < self.length:
            lengths = f"received {len(content)} bytes, expected {self.length}"
            raise ConnectionLost(f"peer closed connection without sending complete message body ({lengths})")
        return content


def connected(path: str, timeout: float | None = None) -> socket.socket:
    """A connection to the socket `path`. `timeout`: seconds that each operation may take, None for no limit.

    Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def exchange(connection: socket.socket, method: str, target: str, body: bytes = b"") -> Iterator[Incoming]:
    """Send a request; yield the answer. Raises OSError if the connection breaks."""
    # An HTTP/1.0 answer has no chunks: it ends with the connection.
    head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
    with connection.makefile("rb") as stream:
        yield _incoming(stream)


def _incoming(stream: BinaryIO) -> Incoming:
    first = stream.readline().split(None, 2)
    if len(first) < 2 or not first[1].isdigit():
        raise ConnectionLost("Server disconnected without sending a response.")
    length = None
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return Incoming(int(first[1]), length, stream)
