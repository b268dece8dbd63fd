"""HTTP on the daemon's sockets: uvicorn's protocol, without its faults towards clients of Java and of HTTP/1.0.

An offer to change the protocol (`Upgrade: h2c`, sent by each default client of Java and by `curl --http2`) is declined
by an answer in HTTP/1.1; uvicorn's parser stops at the body of such a request (Kludex/uvicorn#2722). An answer to an
HTTP/1.0 client ends with the connection, as such clients know no chunks.
"""

import asyncio
from typing import Any, cast

import httptools
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

OFFER_HEADERS = (b"upgrade", b"http2-settings")  # besides the words for them in `Connection`


class HttpProtocol(HttpToolsProtocol):
    _is_offer = False  # the current request's head offers another protocol
    _cycles: tuple[RequestResponseCycle, ...] = ()  # requests of the connection that may not be answered yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(cast(asyncio.Transport, JoiningTransport(transport)))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._is_offer:
                self._decline(data[stop.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that its client has left; uvicorn tells the last one only."""
        super().connection_lost(exc)
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def on_message_begin(self) -> None:
        self._is_offer = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._is_offer:  # the request begins again without it
            return
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self._cycles = (*(cycle for cycle in self._cycles if not cycle.response_complete), self.cycle)
        if self.cycle is not before and self.scope["http_version"] == "1.0":
            self.cycle.chunked_encoding = False
            self.cycle.send = _Unframed(self.cycle)  # type: ignore[method-assign, assignment]

    def on_body(self, body: bytes) -> None:
        if not self._is_offer:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_offer:
            super().on_message_complete()

    def _decline(self, rest: bytes) -> None:
        """Read the request again, without its offer, and what follows its head."""
        head = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%s: %s\r\n" % header for header in without_offer(self.headers)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.data_received(b"".join((head, *lines, b"\r\n", rest)))


def without_offer(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of a request that offers no other protocol.

    >>> without_offer([(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"h2c"), (b"host", b"a")])
    [(b'connection', b'keep-alive'), (b'host', b'a')]
    """
    kept = []
    for name, value in headers:
        if name == b"connection":
            value = b", ".join(
                word for part in value.split(b",") if (word := part.strip()).lower() not in OFFER_HEADERS
            )
            if not value:
                continue
        if name not in OFFER_HEADERS:
            kept.append((name, value))
    return kept


class JoiningTransport:
    """A transport that sends together what is written together: the head of an answer, its first bytes, its end.

    Each send takes longer than all else that an answer of a few bytes costs, as it wakes the client.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        written, self._written = self._written, []
        if written and not self._transport.is_closing():
            self._transport.write(b"".join(written))


class _Unframed:
    """Sends an answer that ends with the connection: uvicorn then expects no length but that of each piece."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)  # type: ignore[arg-type]
