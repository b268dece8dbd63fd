"""Requests that are too large, too slow or too many, on real sockets."""

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from oprel.server.api.connections import request_limits as limits
from oprel.server.api.connections.http_protocol import HttpProtocol
from oprel.utils.process.clock import Clock
from tests.fixtures import stepped_loop
from tests.fixtures.stepped_loop import SteppedLoop

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
SHORT = 0.05  # s


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how many bytes a body has; an answer to /refused reads none."""
    size = 0 if scope["path"] == "/refused" else len(await Request(scope, receive).body())
    await JSONResponse({"size": size})(scope, receive, send)


class Address:
    """Where the server listens, and the connections of the test."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: list[Streams] = []

    async def connected(self, *parts: bytes) -> Streams:
        """A connection over which the parts were sent."""
        streams = await asyncio.open_connection(self._host, self._port)
        self._open.append(streams)
        for part in parts:
            streams[1].write(part)
        return streams

    async def close(self) -> None:
        for _, writer in self._open:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in self._open), return_exceptions=True)


@contextlib.asynccontextmanager
async def serving(clock: Clock | None = None) -> AsyncIterator[Address]:
    config = uvicorn.Config(echo, http=HttpProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    async with await loop.create_server(
        lambda: HttpProtocol(config=config, server_state=state, app_state={}, clock=clock), "127.0.0.1", 0
    ) as server:
        address = Address(*server.sockets[0].getsockname())
        yield address
        await address.close()
        for connection in list(state.connections):
            connection.transport.abort()


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    async with serving() as address:
        yield address


async def answer(streams: Streams) -> tuple[int, dict[str, object]]:
    reader, _ = streams
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return int(head.split()[1]), json.loads(await reader.readexactly(int(fields[b"content-length"])))


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 70_000, 414),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 400_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 300 + b"\r\n", 431),
    ],
    ids=["open URL", "URL", "open header", "header", "many headers"],
)
async def test_a_head_beyond_measure_is_refused(address: Address, request_bytes: bytes, status: int) -> None:
    assert (await answer(await address.connected(request_bytes)))[0] == status
    reader, writer = await address.connected(HEAD + b"Content-Length: 0\r\n\r\n")
    assert (await answer((reader, writer)))[0] == 200
    writer.write(request_bytes)
    assert (await answer((reader, writer)))[0] == status


async def test_empty_lines_without_a_request_are_refused(address: Address) -> None:
    async with asyncio.timeout(30):
        assert (await answer(await address.connected(b"\r\n" * 70_000)))[0] == 431


async def test_a_large_head_is_taken(address: Address) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(60))
    assert (await answer(await address.connected(HEAD + headers + b"Content-Length: 1\r\n\r\n", b"a")))[0] == 200


async def test_who_sends_too_much_reads_why(address: Address) -> None:
    reader, writer = await address.connected()
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(100):  # 6 MiB, more than the buffers of a socket
        writer.write(b"a" * 65536)
        await writer.drain()
    status, body = await answer((reader, writer))
    assert (status, body) == (431, {"error": "the headers are longer than 64 KiB, or more than 200"})


@pytest.mark.parametrize(
    ("begin", "limit", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost:", "HEAD_SECONDS", 408),
        (HEAD + b"Content-Length: 9\r\n\r\nab", "PART_SECONDS", 408),
    ],
    ids=["head", "body"],
)
async def test_who_stops_sending_is_refused(
    address: Address, monkeypatch: pytest.MonkeyPatch, begin: bytes, limit: str, status: int
) -> None:
    monkeypatch.setattr(limits, limit, SHORT)
    assert (await answer(await address.connected(begin)))[0] == status


@pytest.mark.parametrize(
    ("begin", "rest"),
    [
        (b"", HEAD + b"Content-Length: 9\r\n\r\nabcdefghi"),
        (HEAD + b"Content-Le", b"ngth: 9\r\n\r\nabcdefghi"),
        (HEAD + b"Content-Length: 9\r\n\r\nab", b"cdefghi"),
        (HEAD + b"Content-Length: 0\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\nabcdefghi"),
    ],
    ids=["connection", "head", "body", "idle connection"],
)
def test_the_time_in_which_a_daemon_could_not_run_is_not_the_client_s(begin: bytes, rest: bytes) -> None:
    async def scene(loop: SteppedLoop) -> None:
        async with serving(Clock(loop.time)) as address:
            streams = await address.connected(begin)
            if begin.endswith(b": 0\r\n\r\n"):
                assert await answer(streams) == (200, {"size": 0})
            await loop.step(1.0)
            await loop.step(3600.0)
            streams[1].write(rest)
            assert await answer(streams) == (200, {"size": 9})

    stepped_loop.run(scene)


async def test_a_connection_without_a_request_is_closed(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_SECONDS", SHORT)
    reader, _ = await address.connected()
    assert await reader.read() == b""


@pytest.mark.parametrize(("path", "status"), [("/", 408), ("/api/blobs/x", 200)])
async def test_a_body_in_many_parts_has_a_time_but_for_uploads(
    address: Address, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    monkeypatch.setattr(limits, "PART_SECONDS", 20 * SHORT)
    monkeypatch.setattr(limits, "BODY_SECONDS", -1.0)  # it is looked at when a part could be late
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path.encode()
    streams = await address.connected(head)
    answered = asyncio.create_task(answer(streams))
    for _ in range(30):
        if not answered.done():
            streams[1].write(b"1\r\na\r\n")
        await asyncio.wait({answered}, timeout=SHORT)
    if not answered.done():
        streams[1].write(b"0\r\n\r\n")
    assert (await answered)[0] == status


async def test_a_body_of_many_small_parts_is_whole(address: Address) -> None:
    parts = b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    streams = await address.connected(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", parts)
    assert await answer(streams) == (200, {"size": 100_000})


async def test_what_follows_a_refusal_is_read_within_bounds(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    head = HEAD.replace(b"/ ", b"/refused ", 1) + b"Content-Length: 90000000\r\n\r\n"
    streams = await address.connected(head, b"a" * 1_000_000)
    assert (await answer(streams))[0] == 200
    monkeypatch.setattr(limits, "REFUSED_BYTES", 2_000_000)
    with pytest.raises(ConnectionError):
        while True:
            streams[1].write(b"a" * 1_000_000)
            await streams[1].drain()


async def test_many_requests_at_once_on_one_connection_are_refused(address: Address) -> None:
    reader, _ = await address.connected((HEAD + b"Content-Length: 0\r\n\r\n") * 500)
    assert b"HTTP/1.1 429 " in await reader.read()


async def test_the_connection_that_waited_longest_makes_room(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "most_connections", lambda: 3)
    busy = await address.connected(HEAD + b"Content-Length: 2\r\n\r\na")
    first, second = [await address.connected() for _ in range(2)]
    for _ in range(2):  # more than are admitted
        assert (await answer(await address.connected(HEAD + b"Content-Length: 0\r\n\r\n")))[0] == 200
    assert await first[0].read() == b""
    busy[1].write(b"b")
    assert await answer(busy) == (200, {"size": 2})
    assert await second[0].read() == b""


async def test_where_all_are_busy_the_next_is_refused(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "most_connections", lambda: 2)
    busy = [await address.connected(HEAD + b"Content-Length: 2\r\n\r\na") for _ in range(2)]
    for streams in busy:
        await streams[1].drain()
    assert (await answer(await address.connected()))[0] == 503
    for streams in busy:
        streams[1].write(b"b")
        assert await answer(streams) == (200, {"size": 2})


def test_the_limit_of_open_files_leaves_some_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: changed.append(pair))
    limits.raise_file_limit()
    assert changed == [(4096, 4096)]
    assert limits.most_connections() == 1024 - 256
    limits.most_connections.cache_clear()
