"""HTTP to an engine: asyncio's connections and httptools' parser, as every token of an answer passes here.

Each request has a connection of its own: llama-server closes some kept-alive connections just as they are reused
(b11549, 8 of 300), and a new one over a Unix socket costs no measurable time (medians of 1.1 and 1.2 ms).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, cast

import httptools

from oprel.utils.process import forks

CONNECT_SECONDS = 10.0  # only connecting has a time limit: decoding may take any time
MOST_WAITING = 1 << 18  # bytes of an answer that wait here for a slow reader; then the engine waits


class ConnectionBroken(Exception):
    """The engine cannot be reached, the connection broke, or the answer is not HTTP."""


class Answer(Protocol):
    """An answer whose head has arrived. `status` is HTTP's."""

    status: int

    async def read(self) -> bytes:
        """What has arrived since the last call: at least a byte, or nothing at the end. Raises ConnectionBroken."""

    def close(self) -> None:
        """Close the connection, which tells the engine that the rest is not wanted."""


class EngineTransport(Protocol):
    """A way to send requests to an engine."""

    async def send(self, method: str, path: str, body: bytes) -> Answer:
        """The answer, once its head is there. The caller closes it. Raises ConnectionBroken."""

    def close(self) -> None:
        """Break off all requests."""


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    content: bytes

    @property
    def is_error(self) -> bool:
        return self.status >= HTTPStatus.BAD_REQUEST


async def read_all(answer: Answer) -> bytes:
    """The rest of the answer's body. Raises ConnectionBroken."""
    pieces = []
    while piece := await answer.read():
        pieces.append(piece)
    return b"".join(pieces)


class EngineHttp:
    """The HTTP client of one engine process. `is_closed` once that is to be asked nothing more."""

    def __init__(self, transport: EngineTransport) -> None:
        self._transport = transport
        self.is_closed = False

    def close(self) -> None:
        """Break off all requests, and refuse further ones."""
        self.is_closed = True
        self._transport.close()

    @asynccontextmanager
    async def stream(self, path: str, body: bytes) -> AsyncIterator[Answer]:
        """The answer to a POST, as it arrives. Its connection is closed behind the block. Raises ConnectionBroken."""
        answer = await self._send("POST", path, body)
        try:
            yield answer
        finally:
            answer.close()

    async def post(self, path: str, body: bytes) -> Reply:
        """The whole answer. Raises ConnectionBroken."""
        async with self.stream(path, body) as answer:
            return Reply(answer.status, await read_all(answer))

    async def get_status(self, path: str) -> int:
        """The status of a GET. Raises ConnectionBroken."""
        answer = await self._send("GET", path, b"")
        try:
            await read_all(answer)  # an engine may log an error when its answer is not read
        finally:
            answer.close()
        return answer.status

    async def _send(self, method: str, path: str, body: bytes) -> Answer:
        if self.is_closed:
            raise ConnectionBroken("the engine is gone")
        return await self._transport.send(method, path, body)


@dataclass(frozen=True)
class SocketTransport:
    """Sends requests to the Unix socket `path`, or to `port` of this machine, where the engine requires the `key`.

    `on_socket_lost` is called where there is no such socket.
    """

    path: Path
    port: int = 0
    key: str = ""
    on_socket_lost: Callable[[], None] = lambda: None
    _open: "set[_OneRequest]" = field(default_factory=set, compare=False)

    async def send(self, method: str, path: str, body: bytes) -> Answer:
        request = _OneRequest(self._head(method, path, len(body)) + body, on_close=self._open.discard)
        self._open.add(request)
        try:
            await self._connect(request)
            return await request.when_answered()
        except BaseException:
            request.close()
            raise

    def close(self) -> None:
        for request in tuple(self._open):
            request.close()

    async def _connect(self, request: "_OneRequest") -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self.port:
                    await loop.create_connection(lambda: request, "127.0.0.1", self.port)
                else:
                    await loop.create_unix_connection(lambda: request, str(self.path))
        except (FileNotFoundError, NotADirectoryError) as error:
            self.on_socket_lost()
            raise ConnectionBroken("the engine's socket is gone") from error
        except OSError as error:  # the timeout is one too
            raise ConnectionBroken(str(error) or "the engine does not accept connections") from error

    def _head(self, method: str, path: str, length: int) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: engine", "Connection: close"]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        if length:
            lines += ["Content-Type: application/json", f"Content-Length: {length}"]
        return "\r\n".join([*lines, "", ""]).encode()


class _OneRequest(asyncio.Protocol):
    """One request and its answer, on a connection of their own. httptools calls the methods `on_…`."""

    def __init__(self, request: bytes, on_close: "Callable[[_OneRequest], None]") -> None:
        self.status = 0
        self._request = request
        self._on_close = on_close
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._size = 0  # bytes of the pieces
        self._ended = False
        self._is_closed = False
        self._has_end = False  # in its own bytes, else the body ends with the connection
        self._is_paused = False
        self._reader: asyncio.Future[None] | None = None

    async def when_answered(self) -> "_OneRequest":
        """Itself, once the head of the answer is there. Raises ConnectionBroken."""
        while not self.status:
            await self._arrival()
        return self

    async def read(self) -> bytes:
        while not self._pieces:
            if self._ended:
                return b""
            await self._arrival()
        content = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._is_paused and self._transport:
            self._is_paused = False
            self._transport.resume_reading()
        return content

    def close(self) -> None:
        self._is_closed = True
        self._on_close(self)
        if self._transport:
            self._transport.abort()
        self._wake()

    async def _arrival(self) -> None:
        """Return when something has arrived. Raises ConnectionBroken if nothing will."""
        if self._is_closed or self._transport is None or self._transport.is_closing():
            raise ConnectionBroken("the engine closed the connection before the end of its answer")
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no instances of it
        forks.watch_stream(transport)
        self._transport.write(self._request)
        if self._is_closed:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close()
        if self._size > MOST_WAITING and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The engine says no more, so it need not get the rest of the request either."""
        self._ended |= bool(self.status) and not self._has_end
        if self._transport:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._on_close(self)
        self._wake()

    def on_message_begin(self) -> None:
        self._has_end = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._has_end |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= HTTPStatus.OK:  # those below announce another answer
            self.status = status

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._size += len(body)

    def on_message_complete(self) -> None:
        self._ended = bool(self.status)

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)
