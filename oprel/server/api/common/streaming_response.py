"""A response that is sent while its content is made, and given up when the client disconnects."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from oprel.core.exceptions import OprelError, ShuttingDownError
from oprel.server.api.common.errors import encode_for, error_response
from oprel.server.errors import unexpected

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
JSON = "application/json; charset=utf-8"
FAREWELL_SECONDS = 2.0  # for a client to read the error that ends its answer at shutdown; it may have stopped reading


class StreamingReply(Response):
    """Sends each item of `content` as soon as it is made. JSON is one item, and sent with its length.

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
        try:
            async with anyio.create_task_group() as group:

                async def produce() -> None:
                    await self._produce(scope, receive, send)
                    group.cancel_scope.cancel()

                group.start_soon(produce)
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            # Only the server cancels from outside: the daemon's time to finish is over.
            with anyio.move_on_after(FAREWELL_SECONDS, shield=True):
                await self._break_off(ShuttingDownError("oprel is shutting down", "Ask again."), scope, receive, send)

    async def _produce(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._content) as content:
                async for item in content:
                    if not self._started:
                        if self.media_type == JSON:
                            self.headers["content-length"] = str(len(item))
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                        self._started = True
                    await send(_body(item, more=True))
            await send(_body(b"", more=False))
        except Exception as error:  # the request boundary: the client gets an error, whatever went wrong
            reported = error if isinstance(error, OprelError) else unexpected(error)
            await self._break_off(reported, scope, receive, send)

    async def _break_off(self, error: OprelError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started:
            end = self._broken(error) if self._broken else encode_for(scope, error) + b"\n"
            await send(_body(end, more=False))
        else:
            await error_response(scope, error)(scope, receive, send)


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
