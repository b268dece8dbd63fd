"""How an answer ends that is broken off by its daemon."""

import asyncio
from collections.abc import AsyncGenerator

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message

from oprel.server.api.common import streaming_response
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply

SCOPE = {"type": "http", "path": "/api/chat", "method": "POST", "headers": []}


async def endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield b"{}\n"


async def stays() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


async def test_a_client_that_does_not_read_cannot_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_response, "FAREWELL_SECONDS", 0.01)
    full = anyio.Event()

    async def send(message: Message) -> None:
        if message.get("body"):
            full.set()
            await anyio.sleep_forever()

    answer = asyncio.create_task(StreamingReply(endless(), NDJSON)(SCOPE, stays, send))
    await full.wait()
    answer.cancel()
    with anyio.fail_after(20):
        await asyncio.wait([answer])


async def test_a_client_that_reads_gets_the_error() -> None:
    sent: list[bytes] = []
    begun = anyio.Event()

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        begun.set()
        await anyio.lowlevel.checkpoint()

    answer = asyncio.create_task(StreamingReply(endless(), NDJSON)(SCOPE, stays, send))
    await begun.wait()
    answer.cancel()
    await asyncio.wait([answer])
    assert b"shutting down" in sent[-1]
