"""Talking to a daemon: `Client`, `AsyncClient`, and functions of this module on a client of the default configuration.

Names and arguments are those of Ollama's Python client, with `load` and `unload` beside them. Every method may raise
ConnectError, ModelNotFoundError, ValidationError, UnsupportedError or BackendError.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import Literal, Self, TypeVar, Unpack, overload

import httpx

from oprel import api_models as wire
from oprel.client import calls
from oprel.client.base import LOCAL_URL, TIMEOUT, Address, Scheme, connection_errors
from oprel.client.calls import Call, ChatExtras, Extras, Messages, Options
from oprel.client.connect import open_transport, open_transport_async
from oprel.core.config import Config, load_config

Answer = TypeVar("Answer", wire.GenerateResponse, wire.ChatResponse)
Result = TypeVar("Result", bound=wire.Wire)


class _Base:
    def __init__(self, host: str | None, config: Config | None, start: bool) -> None:
        self._given = host, config
        self._start = start

    @cached_property
    def config(self) -> Config:
        """Read on first use, so that importing oprel never fails over a configuration."""
        return self._given[1] or load_config()

    @cached_property
    def address(self) -> Address:
        if self._given[0]:
            return Address.parse(self._given[0])
        return replace(Address.of(self.config), own=self._start and not self.config.host)

    @property
    def _base_url(self) -> str:
        return self.address.target if self.address.scheme is Scheme.HTTP else LOCAL_URL


class Client(_Base):
    """A synchronous client. `host` is an address like "http://box:11435" or "unix:/run/oprel.sock".

    Without one it talks to this machine's own daemon, and starts it when none runs, unless `start` is false.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        config: Config | None = None,
        start: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(host, config, start)
        self._transport = transport

    @cached_property
    def _http(self) -> httpx.Client:
        transport = self._transport or open_transport(self.address, self.config)
        return httpx.Client(transport=transport, base_url=self._base_url, timeout=TIMEOUT)

    def _send(self, call: Call[Result]) -> Result:
        with connection_errors(self.address):
            response = self._http.request(call.method, call.path, content=call.content)
        return call.parse(response.status_code, response.content)

    def _stream(self, call: Call[Answer]) -> Iterator[Answer]:
        done = False
        with (
            connection_errors(self.address),
            self._http.stream(call.method, call.path, content=call.content) as response,
        ):
            if response.is_error:
                call.parse(response.status_code, response.read())
            for line in response.iter_lines():
                yield (piece := call.parse_line(line))
                done = piece.done
        if not done:
            raise calls.unfinished()

    # fmt: off
    @overload
    def generate(self, model: str, prompt: str = "", *, stream: Literal[False] = False, system: str | None = None, raw: bool = False, **extras: Unpack[Extras]) -> wire.GenerateResponse: ...  # noqa: E501
    @overload
    def generate(self, model: str, prompt: str = "", *, stream: Literal[True], system: str | None = None, raw: bool = False, **extras: Unpack[Extras]) -> Iterator[wire.GenerateResponse]: ...  # noqa: E501
    # fmt: on
    def generate(
        self,
        model: str,
        prompt: str = "",
        *,
        stream: bool = False,
        system: str | None = None,
        raw: bool = False,
        **extras: Unpack[Extras],
    ) -> wire.GenerateResponse | Iterator[wire.GenerateResponse]:
        """Complete a prompt. `raw` sends it to the model without its chat template."""
        call = calls.generate(model, prompt, stream, system, raw, **extras)
        return self._stream(call) if stream else self._send(call)

    # fmt: off
    @overload
    def chat(self, model: str, messages: Messages | None = None, *, stream: Literal[False] = False, **extras: Unpack[ChatExtras]) -> wire.ChatResponse: ...  # noqa: E501
    @overload
    def chat(self, model: str, messages: Messages | None = None, *, stream: Literal[True], **extras: Unpack[ChatExtras]) -> Iterator[wire.ChatResponse]: ...  # noqa: E501
    # fmt: on
    def chat(
        self, model: str, messages: Messages | None = None, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> wire.ChatResponse | Iterator[wire.ChatResponse]:
        """The assistant's next message."""
        call = calls.chat(model, messages or (), stream, **extras)
        return self._stream(call) if stream else self._send(call)

    def embed(
        self,
        model: str,
        input: str | Sequence[str] = "",
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
        options: Options | None = None,
        keep_alive: float | str | None = None,
    ) -> wire.EmbedResponse:
        """One L2-normalised vector an input, in order."""
        extras = {"truncate": truncate, "dimensions": dimensions, "options": options, "keep_alive": keep_alive}
        return self._send(calls.embed(model, input, **extras))

    def embeddings(
        self, model: str, prompt: str = "", *, options: Options | None = None, keep_alive: float | str | None = None
    ) -> wire.EmbeddingsResponse:
        """Ollama's older call for a single vector."""
        return self._send(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    def list(self) -> wire.ListResponse:
        """The models there are."""
        return self._send(calls.list_models())

    def show(self, model: str) -> wire.ShowResponse:
        """What is known about a model."""
        return self._send(calls.show(model))

    def ps(self) -> wire.ProcessResponse:
        """The models that are loaded."""
        return self._send(calls.ps())

    def engines(self) -> wire.ModelsResponse:
        """The engines behind the loaded models: state, process, address."""
        return self._send(calls.engines())

    def health(self) -> wire.HealthResponse:
        """The daemon's version and process, and the engines it may use."""
        return self._send(calls.health())

    def load(
        self, model: str, *, options: Options | None = None, keep_alive: float | str | None = None
    ) -> wire.LoadResponse:
        """Load a model and return when it is ready."""
        return self._send(calls.load(model, options=options, keep_alive=keep_alive))

    def unload(self, model: str) -> wire.UnloadResponse:
        """Let a model go, when its last answer is done."""
        return self._send(calls.unload(model))

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if "_http" in vars(self):
            self._http.close()
            del self._http

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """`Client` for asyncio; streams are `async for` over the awaited call."""

    def __init__(
        self,
        host: str | None = None,
        *,
        config: Config | None = None,
        start: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(host, config, start)
        self._transport = transport

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        transport = self._transport or open_transport_async(self.address, self.config)
        return httpx.AsyncClient(transport=transport, base_url=self._base_url, timeout=TIMEOUT)

    async def _send(self, call: Call[Result]) -> Result:
        with connection_errors(self.address):
            response = await self._http.request(call.method, call.path, content=call.content)
        return call.parse(response.status_code, response.content)

    async def _stream(self, call: Call[Answer]) -> AsyncIterator[Answer]:
        done = False
        with connection_errors(self.address):
            async with self._http.stream(call.method, call.path, content=call.content) as response:
                if response.is_error:
                    call.parse(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    yield (piece := call.parse_line(line))
                    done = piece.done
        if not done:
            raise calls.unfinished()

    # fmt: off
    @overload
    async def generate(self, model: str, prompt: str = "", *, stream: Literal[False] = False, system: str | None = None, raw: bool = False, **extras: Unpack[Extras]) -> wire.GenerateResponse: ...  # noqa: E501
    @overload
    async def generate(self, model: str, prompt: str = "", *, stream: Literal[True], system: str | None = None, raw: bool = False, **extras: Unpack[Extras]) -> AsyncIterator[wire.GenerateResponse]: ...  # noqa: E501
    # fmt: on
    async def generate(
        self,
        model: str,
        prompt: str = "",
        *,
        stream: bool = False,
        system: str | None = None,
        raw: bool = False,
        **extras: Unpack[Extras],
    ) -> wire.GenerateResponse | AsyncIterator[wire.GenerateResponse]:
        """Complete a prompt. `raw` sends it to the model without its chat template."""
        call = calls.generate(model, prompt, stream, system, raw, **extras)
        return self._stream(call) if stream else await self._send(call)

    # fmt: off
    @overload
    async def chat(self, model: str, messages: Messages | None = None, *, stream: Literal[False] = False, **extras: Unpack[ChatExtras]) -> wire.ChatResponse: ...  # noqa: E501
    @overload
    async def chat(self, model: str, messages: Messages | None = None, *, stream: Literal[True], **extras: Unpack[ChatExtras]) -> AsyncIterator[wire.ChatResponse]: ...  # noqa: E501
    # fmt: on
    async def chat(
        self, model: str, messages: Messages | None = None, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> wire.ChatResponse | AsyncIterator[wire.ChatResponse]:
        """The assistant's next message."""
        call = calls.chat(model, messages or (), stream, **extras)
        return self._stream(call) if stream else await self._send(call)

    async def embed(
        self,
        model: str,
        input: str | Sequence[str] = "",
        *,
        truncate: bool | None = None,
        dimensions: int | None = None,
        options: Options | None = None,
        keep_alive: float | str | None = None,
    ) -> wire.EmbedResponse:
        """One L2-normalised vector an input, in order."""
        extras = {"truncate": truncate, "dimensions": dimensions, "options": options, "keep_alive": keep_alive}
        return await self._send(calls.embed(model, input, **extras))

    async def embeddings(
        self, model: str, prompt: str = "", *, options: Options | None = None, keep_alive: float | str | None = None
    ) -> wire.EmbeddingsResponse:
        """Ollama's older call for a single vector."""
        return await self._send(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    async def list(self) -> wire.ListResponse:
        """The models there are."""
        return await self._send(calls.list_models())

    async def show(self, model: str) -> wire.ShowResponse:
        """What is known about a model."""
        return await self._send(calls.show(model))

    async def ps(self) -> wire.ProcessResponse:
        """The models that are loaded."""
        return await self._send(calls.ps())

    async def engines(self) -> wire.ModelsResponse:
        """The engines behind the loaded models: state, process, address."""
        return await self._send(calls.engines())

    async def health(self) -> wire.HealthResponse:
        """The daemon's version and process, and the engines it may use."""
        return await self._send(calls.health())

    async def load(
        self, model: str, *, options: Options | None = None, keep_alive: float | str | None = None
    ) -> wire.LoadResponse:
        """Load a model and return when it is ready."""
        return await self._send(calls.load(model, options=options, keep_alive=keep_alive))

    async def unload(self, model: str) -> wire.UnloadResponse:
        """Let a model go, when its last answer is done."""
        return await self._send(calls.unload(model))

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if "_http" in vars(self):
            await self._http.aclose()
            del self._http

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


_default = Client()
generate = _default.generate
chat = _default.chat
embed = _default.embed
embeddings = _default.embeddings
list = _default.list
show = _default.show
ps = _default.ps
load = _default.load
unload = _default.unload
