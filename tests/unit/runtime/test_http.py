"""HTTP to an engine, which here is a server that says what each test makes it say."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from oprel.runtime.http import MOST_WAITING, ConnectionBroken, EngineHttp, SocketTransport, read_all

Answering = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@contextlib.asynccontextmanager
async def engine(socket: Path, answer: Answering) -> AsyncIterator[EngineHttp]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        await answer(head + await reader.readexactly(length), writer)
        writer.close()

    async with await asyncio.start_unix_server(handle, socket):
        yield EngineHttp(SocketTransport(socket))


def saying(*pieces: bytes) -> Answering:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return answer


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "e.sock"


async def test_a_request_has_its_length_and_its_answer_a_status(socket: Path) -> None:
    asked: list[bytes] = []

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

    async with engine(socket, answer) as http:
        reply = await http.post("/tokenize", b'{"content":"a"}')
        assert (reply.status, reply.content, reply.is_error) == (404, b"{}", True)
        assert await http.get_status("/health") == 404
    posted, got = asked
    assert posted.startswith(b"POST /tokenize HTTP/1.1\r\n") and posted.endswith(b'\r\n\r\n{"content":"a"}')
    assert got.startswith(b"GET /health HTTP/1.1\r\n")


async def test_what_has_arrived_is_read_together(socket: Path) -> None:
    async with engine(socket, saying(STREAM + chunk(b"a") + chunk(b"b"), chunk(b""))) as http:
        async with http.stream("/", b"{}") as answer:
            assert await answer.read() == b"ab"
            assert await answer.read() == b""


@pytest.mark.parametrize(
    "pieces",
    [
        [STREAM + chunk(b"a")],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na"],
        [b"HTTP/1.1 200 OK\r\n"],
        [b"nonsense\r\n\r\n"],
        [],
    ],
    ids=["a chunk is missing", "bytes are missing", "in the head", "no HTTP", "nothing"],
)
async def test_an_answer_that_breaks_off_is_never_whole(socket: Path, pieces: list[bytes]) -> None:
    async with engine(socket, saying(*pieces)) as http:
        with pytest.raises(ConnectionBroken):
            await http.post("/", b"{}")


async def test_a_body_without_a_length_ends_with_its_connection(socket: Path) -> None:
    async with engine(socket, saying(b"HTTP/1.1 200 OK\r\n\r\nwhole")) as http:
        assert (await http.post("/", b"{}")).content == b"whole"


async def test_an_announcement_is_not_the_answer(socket: Path) -> None:
    announced = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
    async with engine(socket, saying(announced)) as http:
        reply = await http.post("/", b"{}")
    assert (reply.status, reply.content) == (200, b"whole")


async def test_a_request_without_an_answer_yet_is_broken_off_too(socket: Path) -> None:
    is_asked, is_over = asyncio.Event(), asyncio.Event()

    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await is_over.wait()

    async with engine(socket, silent) as http:
        asking = asyncio.create_task(http.post("/", b"{}"))
        await is_asked.wait()
        http.close()
        with pytest.raises(ConnectionBroken):
            await asking
        is_over.set()


async def test_an_engine_waits_for_a_slow_reader(socket: Path) -> None:
    """It cannot fill the daemon's memory: what is not read stays in the socket."""
    size, sent = 40 * MOST_WAITING, 0
    is_stuck = asyncio.Event()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(1 << 16))
            sent += 1 << 16
            try:
                await asyncio.wait_for(asyncio.shield(writer.drain()), 0.2)
            except TimeoutError:
                is_stuck.set()
                await writer.drain()

    async with engine(socket, answer) as http, http.stream("/", b"{}") as reading:
        await is_stuck.wait()
        assert sent < size
        assert len(await read_all(reading)) == size


async def test_whoever_leaves_closes_the_connection(socket: Path) -> None:
    has_left = asyncio.Event()

    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(chunk(b"a"))
                await writer.drain()
                await asyncio.sleep(0)
        has_left.set()

    async def head_first(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        await answer(request, writer)

    async with engine(socket, head_first) as http:
        async with http.stream("/", b"{}") as reading:
            assert await reading.read()
        await has_left.wait()


async def test_a_closed_client_breaks_off_what_is_under_way(socket: Path) -> None:
    is_over = asyncio.Event()

    async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + chunk(b"a"))
        await writer.drain()
        await is_over.wait()

    async with engine(socket, silent) as http, http.stream("/", b"{}") as answer:
        assert await answer.read() == b"a"
        http.close()
        with pytest.raises(ConnectionBroken):
            await answer.read()
        with pytest.raises(ConnectionBroken, match="gone"):
            await http.get_status("/health")
        is_over.set()


async def test_nothing_listens(socket: Path) -> None:
    with pytest.raises(ConnectionBroken):
        await EngineHttp(SocketTransport(socket)).get_status("/health")


async def test_an_engine_on_a_port_gets_its_key() -> None:
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        assert await EngineHttp(SocketTransport(Path("unused"), port, "secret")).get_status("/health") == 200
    assert b"\r\nAuthorization: Bearer secret\r\n" in asked[0]
