"""TLS in front of HTTP, on real sockets."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from oprel.client.plain.requests import SPEAKS_HTTPS
from oprel.server.api.connections import request_limits as limits
from oprel.server.api.connections.http_protocol import HttpProtocol
from oprel.server.api.connections.tls import HINT, TlsConnection
from oprel.server.daemon.tls.certificates import server_context
from oprel.server.daemon.tls.self_signed import make

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
BODY = bytes(range(256)) * 4096  # 1 MiB: many records of TLS, and more than a socket's buffers
SHORT = 0.05  # s
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, and in the headers how it came."""
    body = await Request(scope, receive).body()
    answer = PlainTextResponse(body, headers={"scheme": scope["scheme"], "client": scope["client"][0]})
    await answer(scope, receive, send)


class SecurePort:
    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls/certificate.pem", folder / "tls/key.pem"
        make(self.certificate, self.key)
        self.context = server_context(self.certificate, self.key)
        self.port = 0

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.certificate)
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of newer Pythons
        return context

    async def connected(self, context: ssl.SSLContext | None = None) -> Streams:
        return await asyncio.open_connection("localhost", self.port, ssl=context or self.trust())

    async def plain(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SecurePort]:
    config = uvicorn.Config(echo, http=HttpProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state, server = ServerState(), SecurePort(tmp_path)

    def connection() -> TlsConnection:
        return TlsConnection(HttpProtocol(config=config, server_state=state, app_state={}), server.context)

    loop = asyncio.get_running_loop()
    async with await loop.create_server(connection, "127.0.0.1", 0) as listener:
        server.port = listener.sockets[0].getsockname()[1]
        yield server
        for each in list(state.connections):
            each.transport.abort()


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return head, await reader.readexactly(int(fields[b"content-length"]))


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_requests_and_answers_of_many_records_arrive_whole(server: SecurePort) -> None:
    reader, writer = await server.connected()
    for body in (b"", b"a", BODY):  # on one connection
        writer.write(REQUEST % len(body) + body)
        head, content = await answer(reader)
        assert content == body
        assert b"scheme: https" in head and b"client: 127.0.0.1" in head
    await ended(writer)


async def test_single_bytes_are_enough(server: SecurePort) -> None:
    """The records arrive in pieces, the handshake's too."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = server.trust().wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await server.plain()

    async def done(act: Callable[[], object]) -> object:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = act()
                await send()
                return result
            await send()
            incoming.write(await reader.read(7))

    async def send() -> None:
        for byte in outgoing.read():
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    await done(client.do_handshake)
    await done(lambda: client.write(REQUEST % 2 + b"hi"))
    received = b""
    while not received.endswith(b"hi"):
        piece = await done(lambda: client.read(65536))
        assert isinstance(piece, bytes)
        received += piece
    await ended(writer)


async def test_a_client_that_reads_slowly_holds_up_its_answer_only(server: SecurePort) -> None:
    slow_reader, slow = await server.connected()
    for _ in range(8):
        slow.write(REQUEST % len(BODY) + BODY)
    reader, writer = await server.connected()
    writer.write(REQUEST % 1 + b"a")
    assert (await answer(reader))[1] == b"a"
    for _ in range(8):
        assert (await answer(slow_reader))[1] == BODY
    await ended(slow)
    await ended(writer)


@pytest.mark.parametrize("first", [b"GET /api/tags HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\n", b"\x80SSLv2"])
async def test_plain_http_learns_where_to_go(server: SecurePort, first: bytes) -> None:
    reader, writer = await server.plain()
    writer.write(first)
    head, content = await answer(reader)
    assert head.startswith(b"HTTP/1.1 400 ") and b"text/plain" in head
    assert content.decode() == f"{HINT}127.0.0.1:{server.port}\n"
    assert HINT.startswith(SPEAKS_HTTPS)  # by which our clients know it
    assert await reader.read() == b""
    await ended(writer)


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /"])
async def test_a_handshake_is_not_awaited_without_end(
    server: SecurePort, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", SHORT)
    reader, writer = await server.plain()
    writer.write(first)
    with contextlib.suppress(ConnectionResetError):
        await reader.read()
    await ended(writer)


async def test_too_many_connections_are_told_so(server: SecurePort, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is written before the handshake, and sent after it."""
    monkeypatch.setattr(limits, "most_connections", lambda: 0)
    reader, writer = await server.connected()
    assert (await answer(reader))[0].startswith(b"HTTP/1.1 503 ")
    await ended(writer)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x16" + b"\xff" * 100])
async def test_garbage_ends_only_its_connection(server: SecurePort, garbage: bytes) -> None:
    other_reader, other = await server.connected()
    reader, writer = await server.plain()
    writer.write(garbage)
    with contextlib.suppress(ConnectionResetError):
        assert b"HTTP" not in await reader.read()
    other.write(REQUEST % 1 + b"a")
    assert (await answer(other_reader))[1] == b"a"
    await ended(writer)
    await ended(other)


async def test_versions_before_1_2_are_refused(server: SecurePort) -> None:
    assert server.context.minimum_version is ssl.TLSVersion.TLSv1_2
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = server.trust()
        context.minimum_version = context.maximum_version = version
        _, writer = await server.connected(context)
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        await ended(writer)
    old = server.trust()
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        await server.connected(old)


async def test_a_connection_keeps_its_certificate_and_new_ones_get_the_new(server: SecurePort) -> None:
    old_trust, (old_reader, old) = server.trust(), await server.connected()
    make(server.certificate, server.key)
    server.context = server_context(server.certificate, server.key)
    with pytest.raises(ssl.SSLCertVerificationError):
        await server.connected(old_trust)
    _, new = await server.connected()
    old.write(REQUEST % 1 + b"a")
    assert (await answer(old_reader))[1] == b"a"
    await ended(old)
    await ended(new)


async def test_the_end_is_said_in_tls(server: SecurePort) -> None:
    """Else a client could not tell it from an answer that somebody cut off."""

    def whole_answer() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", server.port)) as connection,
            server.trust().wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False) as secure,
        ):
            secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with secure.makefile("rb") as file:
                return file.read()  # SSLEOFError without a farewell

    assert (await asyncio.to_thread(whole_answer)).startswith(b"HTTP/1.1 200 ")
