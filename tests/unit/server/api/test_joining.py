"""What an answer of a few bytes costs in sends: each wakes its client. And when a connection is read."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.api.connections.client_transport import JoiningTransport
from oprel.server.api.connections.http_protocol import HttpProtocol

Joining = Callable[[], JoiningTransport]


class Wire:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_closed = False
        self.is_read = True

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def joining(wire: Wire) -> Joining:
    return lambda: JoiningTransport(cast(asyncio.Transport, wire))


async def test_what_is_written_together_is_one_send(wire: Wire, joining: Joining) -> None:
    transport = joining()
    for part in (b"head", b"first", b"end"):
        transport.write(part)
    assert wire.sent == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert wire.sent == [b"headfirstend", b"next"]


async def test_closing_sends_the_rest_first(wire: Wire, joining: Joining) -> None:
    transport = joining()
    transport.write(b"end")
    transport.close()
    await asyncio.sleep(0)
    assert wire.sent == [b"end"] and transport.is_closed


async def test_nothing_is_sent_to_a_client_that_has_left(wire: Wire, joining: Joining) -> None:
    transport = joining()
    transport.write(b"late")
    wire.close()
    await asyncio.sleep(0)
    transport.close()
    assert wire.sent == []


async def test_a_connection_that_is_held_is_read_after_a_turn(wire: Wire, joining: Joining) -> None:
    transport = joining()
    transport.hold_reading(0)
    transport.hold_reading(0)
    assert not wire.is_read
    await asyncio.sleep(0.001)
    assert wire.is_read


async def test_a_connection_is_read_when_neither_its_user_nor_the_pace_is_against_it(
    wire: Wire, joining: Joining
) -> None:
    transport = joining()
    transport.pause_reading()
    transport.hold_reading(0)
    await asyncio.sleep(0.001)
    assert not wire.is_read
    transport.hold_reading(0)
    transport.resume_reading()
    assert not wire.is_read
    await asyncio.sleep(0.001)
    assert wire.is_read


async def test_a_client_that_leaves_with_a_request_in_line_ends_the_answer_before_it() -> None:
    is_closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"{}\n"
                await asyncio.sleep(0)
        finally:
            is_closed.set()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingReply(endless(), NDJSON)(scope, receive, send)

    config = uvicorn.Config(app, http=HttpProtocol, ws="none", lifespan="off", log_config=None)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    async with await loop.create_server(
        lambda: HttpProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    ) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        await reader.readuntil(b"{}\n")
        writer.transport.abort()
        await is_closed.wait()
