"""How an answer ends that is broken off by its daemon."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import anyio
import anyio.lowlevel
import pytest
from starlette.types import Message, Scope

from oprel.server.api.common import streaming_response
from oprel.server.api.common.streaming_response import NDJSON, StreamingReply
from oprel.server.api.connections.request_limits import ABORT
from oprel.server.history.metrics import Metrics

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


async def test_what_is_made_together_is_sent_together() -> None:
    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def content() -> AsyncGenerator[bytes, None]:
        yield b"1"
        yield b"2"
        await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        yield b"3"

    await StreamingReply(content(), NDJSON)(SCOPE, stays, send)
    assert sent == [b"", b"12", b"3", b""]  # the head, two pieces, the end


async def test_an_answer_waits_for_a_client_that_does_not_read() -> None:
    made = 0
    is_full, goes_on = anyio.Event(), anyio.Event()

    async def send(message: Message) -> None:
        if message.get("body"):
            is_full.set()
            await goes_on.wait()

    async def content() -> AsyncGenerator[bytes, None]:
        nonlocal made
        for _ in range(50):
            yield bytes(streaming_response.MOST_UNSENT // 4)
            made += 1

    answer = asyncio.create_task(StreamingReply(content(), NDJSON)(SCOPE, stays, send))
    await is_full.wait()
    await anyio.wait_all_tasks_blocked()
    assert made < 12
    goes_on.set()
    await answer
    assert made == 50


async def test_an_answer_whose_client_leaves_is_closed_where_it_waits() -> None:
    is_closed = anyio.Event()

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            yield b"1"
            await anyio.sleep_forever()
        finally:
            is_closed.set()

    async def leaves() -> Message:
        await anyio.wait_all_tasks_blocked()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """The client does not read any more."""

    await StreamingReply(content(), NDJSON)(SCOPE, leaves, send)
    assert is_closed.is_set()


async def test_an_answer_is_made_to_its_end_though_its_client_reads_nothing() -> None:
    is_made = anyio.Event()

    async def content() -> AsyncGenerator[bytes, None]:
        for _ in range(10):
            yield bytes(streaming_response.MOST_UNSENT // 20)
        is_made.set()

    async def send(message: Message) -> None:
        await anyio.sleep_forever()

    answer = asyncio.create_task(StreamingReply(content(), NDJSON)(SCOPE, stays, send))
    with anyio.fail_after(20):
        await is_made.wait()
    answer.cancel()
    await asyncio.wait([answer])


@dataclass
class Daemon:
    """What a reply asks of the daemon's state."""

    is_contended: bool
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def scope(self) -> Scope:
        return {**SCOPE, "app": SimpleNamespace(state=SimpleNamespace(daemon=self)), ABORT: self.is_aborted.set}

    @property
    def manager(self) -> "Daemon":
        return self

    @cached_property
    def is_aborted(self) -> asyncio.Event:
        return asyncio.Event()


async def test_a_client_that_reads_nothing_is_disconnected_when_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming_response, "SLOW_SECONDS", 0.01)
    monkeypatch.setattr(streaming_response, "LOOK_SECONDS", 0.01)
    daemon, is_closed, sent = Daemon(is_contended=False), anyio.Event(), list[bytes]()

    async def content() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"{}\n" * 1000
        finally:
            is_closed.set()

    async def receive() -> Message:
        await daemon.is_aborted.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        await daemon.is_aborted.wait()

    answer = asyncio.create_task(StreamingReply(content(), NDJSON)(daemon.scope, receive, send))
    await asyncio.wait({answer}, timeout=0.1)
    assert not answer.done(), "nobody waits"
    daemon.is_contended = True
    with anyio.fail_after(20):
        await is_closed.wait()
        await answer
    assert [counter.values[()] for counter in daemon.metrics.counters if counter.name == "slow_clients"] == [1]
    assert b"error" not in sent[-1]
