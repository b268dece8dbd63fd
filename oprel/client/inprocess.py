"""Runs the daemon's application inside this process, behind an httpx transport.

The app runs on an event loop in its own thread, which also starts the engines; they stop with it at the latest.
"""

import atexit
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import anyio
import httpx
from anyio.from_thread import BlockingPortal
from starlette.types import ASGIApp, Message

from oprel.core.config import Config
from oprel.core.home import prepare_home


class InProcessTransport(httpx.BaseTransport):
    """Runs the app's lifespan from `open` to `close`; answers stream, and closing one early disconnects it."""

    def __init__(self, config: Config) -> None:
        from oprel.runtime.binaries.engine_binaries import EngineBinaries, check_configured, find_binaries
        from oprel.server.app import assemble, create_app

        prepare_home(config)
        check_configured(config)
        # Not the run folder of the home: that one belongs to the daemon, which may be running.
        self._run_dir = Path(tempfile.mkdtemp(prefix="oprel-"))
        self._app = create_app(assemble(config, EngineBinaries(find_binaries(config)), self._run_dir))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self._run_dir, ignore_errors=True)
            self._portal = stack.enter_context(_event_loop())
            stack.enter_context(self._portal.wrap_async_context_manager(self._app.router.lifespan_context(self._app)))
            self._stack = stack.pop_all()
        self._closed = False
        atexit.register(self.close)  # in case the caller does not

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._closed:
            raise httpx.ConnectError("this model was closed", request=request)
        exchange = _Exchange(request)
        with contextlib.ExitStack() as stack:  # undone on any exception, such as Ctrl-C while a model loads
            task = self._portal.start_task_soon(exchange.run, self._app)
            stack.callback(self._portal.call, exchange.close)
            stack.callback(task.cancel)
            try:
                status, headers = self._portal.call(exchange.head)
            except anyio.EndOfStream:
                raise httpx.RemoteProtocolError("the application ended without an answer", request=request) from None
            body = _Body(self._portal, exchange, stack.pop_all())
        return httpx.Response(status, headers=headers, stream=body)

    def close(self) -> None:
        self._closed = True
        atexit.unregister(self.close)
        self._stack.close()


@contextlib.contextmanager
def _event_loop() -> Iterator[BlockingPortal]:
    """A running event loop in its own thread.

    A daemon thread, unlike that of anyio's `start_blocking_portal`: the interpreter does not wait for it before atexit.
    """
    running: Future[BlockingPortal] = Future()

    async def run() -> None:
        async with BlockingPortal() as portal:
            running.set_result(portal)
            await portal.sleep_until_stopped()

    thread = threading.Thread(target=anyio.run, args=(run,), name="oprel", daemon=True)
    thread.start()
    portal = running.result()
    try:
        yield portal
    finally:
        portal.call(portal.stop, True)  # cancels what still runs on it
        thread.join()


class _Exchange:
    """The client's end of an ASGI connection: one request and its response."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._sent, self._received = anyio.create_memory_object_stream[Message](0)
        self._body_sent = False

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
        async with self._sent:
            with contextlib.suppress(anyio.BrokenResourceError):  # the client closed it
                await app(scope, self._receive, self._sent.send)

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        start = await self._received.receive()
        return start["status"], start["headers"]

    async def part(self) -> bytes | None:
        """The next piece of the body; None at its end."""
        try:
            message = await self._received.receive()
        except anyio.EndOfStream:
            return None
        return bytes(message.get("body", b""))

    def close(self) -> None:
        self._received.close()

    async def _receive(self) -> Message:
        if self._body_sent:
            await anyio.sleep_forever()
        self._body_sent = True
        return {"type": "http.request", "body": self._request.read(), "more_body": False}


class _Body(httpx.SyncByteStream):
    def __init__(self, portal: BlockingPortal, exchange: _Exchange, stack: contextlib.ExitStack) -> None:
        self._portal = portal
        self._exchange = exchange
        self._stack = stack

    def __iter__(self) -> Iterator[bytes]:
        while (part := self._portal.call(self._exchange.part)) is not None:
            if part:
                yield part

    def close(self) -> None:
        self._stack.close()
