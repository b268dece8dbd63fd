"""A response that is sent while its content is made, and given up when the client disconnects."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from oprel.core.exceptions import OprelError, ShuttingDownError
from oprel.server.api.common.app_state import AppState
from oprel.server.api.common.errors import encode_for, error_response
from oprel.server.api.connections.request_limits import ABORT
from oprel.server.errors import unexpected
from oprel.utils.process.clock import Clock

logger = logging.getLogger(__name__)

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
JSON = "application/json; charset=utf-8"
FAREWELL_SECONDS = 2.0  # for a client to read the error that ends its answer at shutdown; it may have stopped reading
MOST_UNSENT = 1 << 20  # bytes that wait for a slow client; then the answer waits, and with it a slot of its engine
SLOW_SECONDS = 60.0  # for which a client may read nothing while others wait
LOOK_SECONDS = 5.0  # between two looks whether others wait


class StreamingReply(Response):
    """Sends the items of `content` as soon as they are made. JSON is one item, and sent with its length.

    An error before the first item becomes a response with its own status. A later error becomes the last line, so that
    a broken answer never looks complete. When the client disconnects, `content` is closed at once, even while it waits.

    `content` may add to `headers` before its first item. `broken` encodes the end of an answer that breaks off; by
    default that is the error's JSON and a newline.
    """

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        media_type: str,
        broken: Callable[[OprelError], bytes] | None = None,
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._content = content
        self._broken = broken
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outbox = _Outbox(lambda: _gives_up_on(scope))
        making = asyncio.create_task(self._make(outbox))
        leaving = asyncio.create_task(_cancel_without_client(making, receive))
        try:
            while items := await outbox.take():
                await self._start(len(items), send)
                await send(_body(items, more=True))
            await self._end(outbox.error, scope, receive, send)
        except asyncio.CancelledError:  # only the server cancels: the daemon's time to finish is over
            await _cancelled(making)
            error = ShuttingDownError("oprel is shutting down", "Ask again.")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._end(error, scope, receive, send)
        finally:
            await _cancelled(leaving)
            await _cancelled(making)

    async def _make(self, outbox: "_Outbox") -> None:
        try:
            async with aclosing(self._content) as content:
                async for item in content:
                    if item:
                        await outbox.put(item)
        except Exception as error:  # the request boundary: the client gets an error, whatever went wrong
            outbox.error = error if isinstance(error, OprelError) else unexpected(error)
        finally:
            outbox.end()

    async def _start(self, size: int, send: Send) -> None:
        if not self._started:
            if self.media_type == JSON:
                self.headers["content-length"] = str(size)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._started = True

    async def _end(self, error: OprelError | None, scope: Scope, receive: Receive, send: Send) -> None:
        if error is None:
            await self._start(0, send)
            await send(_body(b"", more=False))
        elif self._started:
            end = self._broken(error) if self._broken else encode_for(scope, error) + b"\n"
            await send(_body(end, more=False))
        else:
            await error_response(scope, error)(scope, receive, send)


class _Outbox:
    """The items of an answer on their way to the client: what is made together is sent together.

    `gives_up` ends the connection of a client that does not read, if others wait for what its answer holds.
    """

    def __init__(self, gives_up: Callable[[], bool]) -> None:
        self._gives_up = gives_up
        self.error: OprelError | None = None  # that ended the answer
        self._items: list[bytes] = []
        self._size = 0
        self._ended = False
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def put(self, item: bytes) -> None:
        """Add an item. Waits while the client is too slow to read."""
        self._items.append(item)
        self._size += len(item)
        self._filled.set()
        most_seconds = SLOW_SECONDS
        while self._size > MOST_UNSENT:
            self._emptied.clear()
            try:
                async with Clock().timeout(most_seconds):
                    await self._emptied.wait()
            except TimeoutError:
                if self._gives_up():
                    await asyncio.Event().wait()  # to be cancelled
                most_seconds = LOOK_SECONDS

    def end(self) -> None:
        """No item follows."""
        self._ended = True
        self._filled.set()

    async def take(self) -> bytes:
        """All items that are there, at least one; nothing at the end."""
        while not self._items and not self._ended:
            self._filled.clear()
            await self._filled.wait()
        items = b"".join(self._items)
        self._items.clear()
        self._size = 0
        self._emptied.set()
        return items


def _gives_up_on(scope: Scope) -> bool:
    """End the connection of a client that reads nothing, if other requests wait. Its answer lacks its end."""
    state: AppState = scope["app"].state.daemon
    if ABORT not in scope or not state.is_contended:
        return False
    logger.warning("%s: a client that read nothing for %.0f s was disconnected", scope["path"], SLOW_SECONDS)
    state.manager.metrics.slow_client()
    scope[ABORT]()
    return True


async def _cancel_without_client(making: asyncio.Task[None], receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    making.cancel()


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel the task, and wait until it has ended."""
    task.cancel()
    await asyncio.wait({task})


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
