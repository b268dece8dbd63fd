"""An answer sent while it is made, and given up when the client leaves."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from oprel.core.exceptions import OprelError, ShuttingDownError
from oprel.server.errors import encode_error, error_response, unexpected

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
JSON = "application/json; charset=utf-8"


class StreamingReply(Response):
    """Sends each item of `parts` as it comes.

    An error before the first item becomes a response with its own status; one after it becomes the last line, so that a
    broken answer never looks finished. When the client disconnects, `parts` is closed at once, also while it waits.

    `parts` may add to `headers` before its first item. `broken` writes the last words of an answer that breaks off,
    where they are not just the error's JSON and a newline.
    """

    def __init__(
        self,
        parts: AsyncGenerator[bytes, None],
        media_type: str,
        broken: Callable[[OprelError], bytes] | None = None,
    ) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._parts = parts
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
            # Only the server cancels from outside, when the daemon's time to finish is over. It wants nothing further.
            with anyio.CancelScope(shield=True):
                await self._break_off(ShuttingDownError("oprel is shutting down", "Ask again."), scope, receive, send)

    async def _produce(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._parts) as parts:
                async for part in parts:
                    if not self._started:
                        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                        self._started = True
                    await send(_body(part, more=True))
            await send(_body(b"", more=False))
        except Exception as error:  # the request boundary: whatever went wrong, the client is told
            known = error if isinstance(error, OprelError) else unexpected(error)
            await self._break_off(known, scope, receive, send)

    async def _break_off(self, error: OprelError, scope: Scope, receive: Receive, send: Send) -> None:
        if self._started:
            words = self._broken(error) if self._broken else encode_error(error, scope["path"]) + b"\n"
            await send(_body(words, more=False))
        else:
            await error_response(error, scope["path"])(scope, receive, send)


def _body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
