"""HTTP over a Unix socket or a pipe, one connection for each request."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from oprel.client.base import Address, Scheme
from oprel.utils.process import systems
from oprel.utils.process.pipes import PipeEnd, system_pipes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUSY_SECONDS = 0.01  # between two attempts to connect where too many others do

OnSilence = Callable[[], None]


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


def connected(address: Address, timeout: float | None = None) -> PipeEnd:
    """A connection to a local address. `timeout`: seconds that each operation may take, None for no limit.

    Raises OSError.
    """
    if address.scheme is Scheme.PIPE:
        return system_pipes().connect(address.target, timeout)
    connection = systems.unix_socket()
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        connection.settimeout(timeout)
        while True:
            try:
                connection.connect(address.target)
                return connection
            except BlockingIOError:  # the queue of connections is full, for which the timeout does not wait
                if deadline is None or time.monotonic() > deadline:
                    raise
                time.sleep(BUSY_SECONDS)
    except OSError:
        connection.close()
        raise


@contextmanager
def exchange(
    connection: PipeEnd,
    method: str,
    target: str,
    body: bytes = b"",
    on_silence: OnSilence | None = None,
    key: str = "",
) -> Iterator[Incoming]:
    """Send a request; yield the answer. Raises OSError if the connection breaks.

    `on_silence` is called whenever nothing was sent or received for the connection's timeout, and may raise; without it
    that is a TimeoutError.
    """
    # An HTTP/1.0 answer has no chunks: it ends with the connection.
    head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    if key:
        head += f"Authorization: Bearer {key}\r\n"
    patient = _PatientSocket(connection, on_silence)
    patient.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body)
    with io.BufferedReader(patient) as stream:
        yield _incoming(cast(BinaryIO, stream))


class _PatientSocket(io.RawIOBase):
    """Reads from a socket and writes to it, however long that takes, as long as `on_silence` does not raise."""

    def __init__(self, connection: PipeEnd, on_silence: OnSilence | None) -> None:
        self._connection = connection
        self._on_silence = on_silence

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        while True:
            try:
                return self._connection.recv_into(buffer)
            except TimeoutError:
                self._be_patient()

    def send_all(self, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except TimeoutError:
                self._be_patient()

    def _be_patient(self) -> None:
        if self._on_silence is None:
            raise TimeoutError("timed out")
        self._on_silence()


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
