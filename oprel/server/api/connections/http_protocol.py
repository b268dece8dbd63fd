"""HTTP on the daemon's sockets: uvicorn's protocol, without its faults towards clients of Java and of HTTP/1.0.

An offer to change the protocol (`Upgrade: h2c`, sent by each default client of Java and by `curl --http2`) is declined
by an answer in HTTP/1.1; uvicorn's parser stops at the body of such a request (Kludex/uvicorn#2722). An answer to an
HTTP/1.0 client ends with the connection, as such clients know no chunks.
"""

import asyncio
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import httptools
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from oprel.server.access.peers import OWN_USER, PEER, Peer
from oprel.server.api.connections import request_limits as limits
from oprel.server.api.connections.client_transport import Intake, JoiningTransport
from oprel.utils.process.clock import Clock, Timer

INTAKE = Intake(limits.INTAKE_BYTES)
OFFER_HEADERS = (b"upgrade", b"http2-settings")  # besides the words for them in `Connection`


class HttpProtocol(HttpToolsProtocol):
    """One connection. What does not become a request within the limits is refused, and the connection closed."""

    url = b""  # of the current request: the parser sets it only once a line of one began
    _is_offer = False  # the current request's head offers another protocol
    _cycles: tuple[RequestResponseCycle, ...] = ()  # requests of the connection that may not be answered yet
    _timer: Timer | None = None  # for the rest of a head or a body
    _in_head = True  # bytes of a head are awaited, or arriving
    _head_bytes = 0  # that were fed since the last event of the parser
    _header_bytes = 0
    _body_began, _body_heard = 0.0, 0.0  # when a body began, and when its last part came; 0 without a body
    _request_bytes = 0  # of the current request, so far
    _excess_bytes = 0  # of a body after its answer
    _is_refused = False
    idle_since = 0.0  # by the clock, when it began to wait for a request; infinite while one is answered

    def __init__(self, *arguments: Any, clock: Clock | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._clock = clock or Clock()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Close the connection that waited longest for a request if there are too many."""
        self._joining = JoiningTransport(transport)
        is_pipe = transport.get_extra_info("pipe") is not None  # of Windows: one that only its owner may open
        self._peer = Peer(transport.get_extra_info("socket"), OWN_USER if is_pipe else None)
        super().connection_made(cast(asyncio.Transport, self._joining))
        self.idle_since = self._clock()
        self._set_timer(limits.HEAD_SECONDS, self._end_head)
        if len(self.connections) > limits.most_connections():
            oldest = min(self.connections, key=lambda connection: connection.idle_since)  # type: ignore[union-attr]
            if isinstance(oldest, HttpProtocol) and oldest is not self and oldest.idle_since < math.inf:
                oldest.transport.abort()
            else:
                self._refuse(503, "too many connections: try again", b"retry-after: 1\r\n")

    def data_received(self, data: bytes) -> None:
        self._receive(data)
        self._request_bytes += len(data)
        path = self.scope.get("path", "") if self.scope else ""  # it is not there before the head is complete
        if self._request_bytes > limits.SMALL_BYTES and not path.startswith(limits.UPLOADS):
            self._joining.hold_reading(INTAKE.seconds(self.loop.time(), len(data)))

    def _receive(self, data: bytes) -> None:
        if self._is_refused:
            self._excess_bytes += len(data)
            if self._excess_bytes > limits.REFUSED_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data) if self._in_head else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            if self._is_offer:
                self._decline(data[stop.args[0] :])
        except httptools.HttpParserError:
            if not self._is_refused:
                self.logger.warning("Invalid HTTP request received.")
                self.send_400_response("Invalid HTTP request received.")
            return
        self._await_rest()

    def _await_rest(self) -> None:
        """Set the timer for what is missing of a request."""
        if self._in_head and self._head_bytes > limits.HEAD_BYTES:
            self._refuse_head()
        elif self._timer is None and self._in_head:
            self._set_timer(limits.HEAD_SECONDS, self._end_head)
        elif self._timer is None and self._body_began:
            self._set_timer(limits.PART_SECONDS, self._end_body)

    def _set_timer(self, seconds: float, end: Callable[[], None]) -> None:
        self._unset_timer()
        self._timer = self._clock.call_later(seconds, end)

    def _unset_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_head(self) -> None:
        """The head of a request takes too long."""
        self._timer = None
        if self.scope:
            self._refuse(408, f"the head of the request took longer than {limits.HEAD_SECONDS:.0f} s")
        else:
            self.transport.close()

    def _end_body(self) -> None:
        """A body takes too long, unless the daemon itself does not read it at the moment."""
        self._timer, now = None, self._clock()
        if self.flow.read_paused:
            self._body_heard = now
        rest = limits.PART_SECONDS - (now - self._body_heard)
        if rest <= 0:
            self._refuse(408, f"no part of the body came for {limits.PART_SECONDS:.0f} s")
        elif now - self._body_began > limits.BODY_SECONDS and not self.scope["path"].startswith(limits.UPLOADS):
            self._refuse(408, f"the body took longer than {limits.BODY_SECONDS:.0f} s")
        else:
            self._set_timer(max(rest, 0.01), self._end_body)  # a loop's timer may be early by a millisecond

    def _refuse_head(self) -> None:
        kib = limits.HEAD_BYTES // 1024
        if len(self.url) > limits.HEAD_BYTES:
            self._refuse(414, f"the URL is longer than {kib} KiB")
        else:
            self._refuse(431, f"the headers are longer than {kib} KiB, or more than {limits.HEADERS}")

    def _refuse(self, status: int, message: str, header: bytes = b"") -> None:
        """Answer instead of the application, unless its answer has begun, and end the connection.

        What the client still sends is read for a moment: it would not see the answer if its bytes were rejected.
        """
        self._is_refused = True
        self._unset_timer()
        if self.cycle and not self.cycle.response_complete and self.cycle.response_started:
            return self.transport.abort()
        content = b'{"error":"%s"}' % message.encode()
        head = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
        lines = b"content-type: application/json; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(b"%s%s%scontent-length: %d\r\n\r\n%s" % (head, lines, header, len(content), content))
        self.flow.resume_reading()
        self._set_timer(limits.REFUSED_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that its client has left; uvicorn tells the last one only."""
        self._unset_timer()
        super().connection_lost(exc)
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def timeout_keep_alive_handler(self) -> None:
        """Close the idle connection, unless a request came while the daemon could not run: that is read first."""
        close = super().timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(limits.LAST_READ_SECONDS, close)

    def on_message_begin(self) -> None:
        self._is_offer = False
        self._in_head, self._head_bytes, self._header_bytes, self._request_bytes = True, 0, 0, 0
        super().on_message_begin()
        self.scope[limits.ABORT] = self.transport.abort  # type: ignore[literal-required]
        self.scope[PEER] = self._peer  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > limits.HEAD_BYTES:
            self._stop_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > limits.HEAD_BYTES or len(self.headers) > limits.HEADERS:
            self._stop_head()

    def _stop_head(self) -> None:
        """Refuse the request; the parser stops at an exception."""
        if not self._is_refused:
            self._refuse_head()
        raise ValueError("the head is too large")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unset_timer()
        if len(self._cycles) > limits.PIPELINED:
            self._refuse(429, "too many requests at once on one connection")
            raise ValueError("too many requests")
        self.idle_since = math.inf
        self._body_began = self._body_heard = self._clock()
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
        self._body_heard = self._clock()
        if self._is_offer:
            return
        if self.cycle.response_complete:  # it was refused, or needed no body
            self._excess_bytes += len(body)
            if self._excess_bytes > limits.REFUSED_BYTES:
                self.transport.abort()
        elif not isinstance(self.cycle.body, bytearray):  # each small chunk would copy all of a `bytes`
            self.cycle.body = bytearray(self.cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._body_began = 0.0
        self._unset_timer()
        if not self._is_offer:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self.idle_since = self._clock()

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


class _Unframed:
    """Sends an answer that ends with the connection: uvicorn then expects no length but that of each piece."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)  # type: ignore[arg-type]
