"""TLS between a client's connection and its HTTP.

asyncio's own TLS keeps the first certificate for good, and drops plain HTTP without a word. Here each
connection gets the current certificate, and plain HTTP an answer. The handshake is a part of the first request's
head: it counts against the same time, and the connection against the same number.
"""

import asyncio
import contextlib
import logging
import ssl
from enum import Enum, auto
from typing import Any, cast

logger = logging.getLogger(__name__)

HANDSHAKE = 22  # the type of TLS's first record, RFC 8446 section 5.1: its first byte
READ_BYTES = 256 * 1024  # asked for at once; OpenSSL returns one record of 16 KiB at most
HINT = "this port speaks HTTPS: use https://"  # clients know it by that


class _State(Enum):
    NEW = auto()  # no byte came yet
    HANDSHAKE = auto()
    OPEN = auto()
    PLAIN = auto()  # the client speaks no TLS
    CLOSED = auto()


class TlsConnection(asyncio.Protocol):
    """The network's side of a connection. `http` gets what is decrypted, and a `TlsTransport` to answer by."""

    def __init__(self, http: asyncio.Protocol, context: ssl.SSLContext) -> None:
        self._http = http
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._state = _State.NEW
        self._early: list[bytes] = []  # written before the handshake's end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in asyncio
        self._transport = transport
        self._http.connection_made(cast(asyncio.Transport, TlsTransport(self, transport, self._context)))

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = _State.CLOSED
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()

    def eof_received(self) -> bool | None:
        return self._http.eof_received()

    def data_received(self, data: bytes) -> None:
        if self._state is _State.NEW:
            self._state = _State.HANDSHAKE if data[0] == HANDSHAKE else _State.PLAIN
            if self._state is _State.PLAIN:
                self._explain()
        if self._state in (_State.PLAIN, _State.CLOSED):
            return
        self._incoming.write(data)
        try:
            if self._state is _State.HANDSHAKE and not self._shake_hands():
                return
            received, is_end = self._decrypted()
        except ssl.SSLError as error:  # also the client's reason not to trust the certificate
            logger.debug("a TLS connection ended: %s", error)
            self._flush()  # our reason
            self._state = _State.CLOSED
            return self._transport.close()
        self._flush()
        if received:
            self._http.data_received(received)
        if is_end:
            self._http.eof_received()
            self.close()

    def _shake_hands(self) -> bool:
        """Continue the handshake; True at its end. Raises SSLError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        self._state, early = _State.OPEN, b"".join(self._early)
        self._early.clear()
        self.write(early)
        return True

    def _decrypted(self) -> tuple[bytes, bool]:
        """What has arrived whole, and whether the client sends no more. Raises SSLError."""
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                return b"".join(pieces), False
            except ssl.SSLZeroReturnError:
                piece = b""
            if not piece:
                return b"".join(pieces), True
            pieces.append(piece)

    def write(self, data: bytes) -> None:
        if self._state in (_State.NEW, _State.HANDSHAKE):
            self._early.append(data)
        if self._state is not _State.OPEN:
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def close(self) -> None:
        if self._state is _State.OPEN:
            self._state = _State.CLOSED
            with contextlib.suppress(ssl.SSLError):  # it would wait for the client's farewell
                self._tls.unwrap()
            self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def _explain(self) -> None:
        """Tell a client that speaks no TLS, if it understands HTTP. What it still sends is dropped."""
        host, port = self._transport.get_extra_info("sockname")[:2]
        content = f"{HINT}{f'[{host}]' if ':' in host else host}:{port}\n".encode()
        head = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self._transport.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        if self._transport.can_write_eof():
            self._transport.write_eof()


class TlsTransport:
    """The side of a connection that HTTP writes to. Reading is paused for the network as a whole."""

    def __init__(self, connection: TlsConnection, transport: asyncio.Transport, context: ssl.SSLContext) -> None:
        self._transport = transport
        self._context = context
        self.write, self.close = connection.write, connection.close

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._context if name == "sslcontext" else self._transport.get_extra_info(name, default)
