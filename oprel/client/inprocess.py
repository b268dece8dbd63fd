"""Runs the daemon's application inside this process, behind an httpx transport.

The app runs on an event loop in its own thread, which also starts the engines; they stop with it at the latest.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import anyio
import httpx
from anyio.from_thread import BlockingPortal
from starlette.types import ASGIApp, Message

from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.utils.process import forks

END_SECONDS = 5.0  # for requests to end after their client has left, before they are cancelled

Result = TypeVar("Result")


class InProcessTransport(httpx.BaseTransport):
    """Runs the app from its creation to `close`; answers stream, and closing one early disconnects it.

    A forked child starts an app of its own when it sends a request.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._closed = False
        self._thread: _AppThread | None = _AppThread(config)
        forks.in_child(self, InProcessTransport._forget_parent)
        atexit.register(self.close)  # in case the caller does not

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if self._closed:
                raise httpx.ConnectError("this model was closed", request=request)
            self._thread = self._thread or _AppThread(self._config)
        return self._thread.send(request)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
        atexit.unregister(self.close)
        if thread:
            thread.close()

    def _forget_parent(self) -> None:
        self._lock = threading.Lock()
        if self._thread:
            self._thread.is_inherited = True
            self._thread = None


class _AppThread:
    """The app and its event loop, in a thread.

    A daemon thread, unlike that of anyio's `start_blocking_portal`: the interpreter does not wait for it before atexit.
    `is_inherited` is true in a forked child, where the thread does not exist.
    """

    def __init__(self, config: Config) -> None:
        from oprel.runtime.binaries.engine_binaries import EngineBinaries, check_configured
        from oprel.server.app import assemble, create_app

        prepare_home(config)
        check_configured(config)
        self.is_inherited = False
        self._requests: dict[_Exchange, Future[None]] = {}
        # Not the run folder of the home: that one belongs to the daemon, which may be running.
        run_dir = Path(tempfile.mkdtemp(prefix="oprel-"))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, run_dir, ignore_errors=True)
            self._app = create_app(assemble(config, EngineBinaries.of(config), run_dir))
            self._start(stack)
            stack.enter_context(self._portal.wrap_async_context_manager(self._app.router.lifespan_context(self._app)))
            stack.callback(self._end_requests)
            self._stack = stack.pop_all()

    def send(self, request: httpx.Request) -> httpx.Response:
        exchange = _Exchange(request)
        try:
            task = self._portal.start_task_soon(exchange.run, self._app)
        except RuntimeError as error:  # closed at this moment
            raise httpx.ConnectError("this model was closed", request=request) from error
        self._requests[exchange] = task
        task.add_done_callback(lambda _: self._requests.pop(exchange, None))
        try:
            status, headers = self.call(exchange.head)
        except BaseException:  # Ctrl-C while a model loads, too
            self.disconnect(exchange)
            raise
        return httpx.Response(status, headers=headers, stream=_Body(self, exchange))

    def call(self, function: Callable[[], Awaitable[Result]]) -> Result:
        """Run `function` on the loop. Raises httpx.TransportError when that has ended."""
        if self.is_inherited:
            raise httpx.ReadError("this answer belongs to the process that this one was forked from")
        try:
            return self._portal.call(function)
        except (RuntimeError, concurrent.futures.CancelledError) as error:
            raise httpx.ReadError("this model was closed") from error

    def disconnect(self, exchange: "_Exchange") -> None:
        """The client leaves. Returns at once, from any thread: the garbage collector may close an answer anywhere."""
        if not self.is_inherited:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(exchange.disconnect)

    def close(self) -> None:
        """Disconnect every client, end the app's lifespan and with it the engines, and stop the loop."""
        self._stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        running: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()

        async def run() -> None:
            async with BlockingPortal() as portal:
                running.set_result((portal, asyncio.get_running_loop()))
                await portal.sleep_until_stopped()

        thread = threading.Thread(target=anyio.run, args=(run,), name="oprel", daemon=True)
        thread.start()
        self._portal, self._loop = running.result()
        stack.callback(thread.join, END_SECONDS)
        stack.callback(self._portal.call, self._portal.stop, True)  # cancels what still runs on it

    def _end_requests(self) -> None:
        requests = dict(self._requests)
        for exchange in requests:
            self.disconnect(exchange)
        _, late = concurrent.futures.wait(requests.values(), END_SECONDS)
        for task in late:
            task.cancel()


class _Exchange:
    """An ASGI connection: one request of a client and its response."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._sent, self._received = anyio.create_memory_object_stream[Message](0)
        self._left = anyio.Event()
        self._body_sent = False
        self._is_whole = False

    async def run(self, app: ASGIApp) -> None:
        url = self._request.url
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.split(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "client": None,
            "server": None,
        }
        with self._sent:
            await app(scope, self._receive, self._send)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        start = await self._next()
        return start["status"], start["headers"]

    async def part(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        if self._is_whole:
            return None
        message = await self._next()
        self._is_whole = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def disconnect(self) -> None:
        """The client leaves: the app is informed, and what it still sends is dropped."""
        self._left.set()
        self._received.close()
        self._sent.close()

    async def _next(self) -> Message:
        try:
            return await self._received.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise httpx.RemoteProtocolError("the answer broke off", request=self._request) from None

    async def _receive(self) -> Message:
        if self._body_sent:
            await self._left.wait()
            return {"type": "http.disconnect"}
        self._body_sent = True
        return {"type": "http.request", "body": self._request.read(), "more_body": False}

    async def _send(self, message: Message) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._sent.send(message)


class _Body(httpx.SyncByteStream):
    def __init__(self, thread: _AppThread, exchange: _Exchange) -> None:
        self._thread = thread
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._thread.call(self._exchange.part)) is not None:
            if part:
                yield part

    def close(self) -> None:
        self._thread.disconnect(self._exchange)
