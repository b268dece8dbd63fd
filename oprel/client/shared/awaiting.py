"""The connection of `AsyncClient`: requests and streams, without its calls."""

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from oprel import api_models as wire
from oprel.client import calls, types
from oprel.client.calls import ApiCall
from oprel.client.connect import TIMEOUT, connection_errors, open_transport_async
from oprel.client.shared.base_client import BaseClient, Headers, Timeout
from oprel.core.config import Config

Answer = TypeVar("Answer", wire.GenerateResponse, types.ChatResponse, wire.ProgressResponse, wire.LoadResponse)
Result = TypeVar("Result", bound=wire.Wire)


class AwaitingClient(BaseClient[httpx.AsyncClient]):
    """A connection for calls that are awaited."""

    def __init__(
        self,
        host: str | None = None,
        *,
        config: Config | None = None,
        start: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
        follow_redirects: bool = True,
        timeout: Timeout = TIMEOUT,
        headers: Headers | None = None,
        **further: Any,
    ) -> None:
        http = {"follow_redirects": follow_redirects, "timeout": timeout, **further}
        super().__init__(host, config, start, headers, **http)
        self._transport = transport

    def _open(self) -> httpx.AsyncClient:
        transport = self._transport
        if transport is None and not self._wants_httpx_transport:
            transport = open_transport_async(self.address, self.config)
        return httpx.AsyncClient(transport=transport, **self._http_arguments)

    async def _send(
        self, call: ApiCall[Result], body: AsyncIterable[bytes] | None = None, headers: Mapping[str, str] | None = None
    ) -> Result:
        content = call.content if body is None else body
        with connection_errors(self.address):
            response = await self._http.request(call.method, call.path, content=content, headers=headers)
        return call.parse(response.status_code, response.content)

    async def _stream(self, call: ApiCall[Answer]) -> AsyncIterator[Answer]:
        done = False
        with connection_errors(self.address):
            async with self._http.stream(call.method, call.path, content=call.content) as response:
                if response.is_error:
                    call.parse(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    yield (piece := call.parse_line(line))
                    done = calls.is_last(piece)
        if not done:
            raise calls.unfinished()

    async def _lines(self, call: ApiCall[wire.Wire]) -> AsyncIterator[str]:
        with connection_errors(self.address):
            async with self._http.stream(call.method, call.path) as response:
                if response.is_error:
                    call.parse(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    yield line

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if opened := self._release():
            await opened.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
