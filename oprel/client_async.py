"""`AsyncClient`: `client_api.Client` for asyncio. A test keeps the two equal."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack, overload

import anyio.to_thread

from oprel import api_models as wire
from oprel.client import blobs, calls, types
from oprel.client.calls import ChatExtras, GenerateExtras, Messages
from oprel.client.connect import connection_errors
from oprel.client.fetching import FetchReport, Progress
from oprel.client.shared.awaiting import AwaitingClient
from oprel.client.shared.signatures import spelled_out
from oprel.client.types import AnyOptions, AnyTool, Format, ImageSource, ToolChoice
from oprel.wire import daemon as daemon_wire
from oprel.wire import downloads as downloads_wire
from oprel.wire import library as library_wire


class AsyncClient(AwaitingClient):
    """`Client` for asyncio; streams are `async for` over the awaited call."""

    # fmt: off
    @overload
    async def generate(
        self, model: str = "", prompt: str | None = None, suffix: str | None = None, *,
        stream: Literal[False] = False, system: str | None = None, template: str | None = None,
        context: Sequence[int] | None = None, raw: bool | None = None, images: Sequence[ImageSource] | None = None,
        width: int | None = None, height: int | None = None, steps: int | None = None,
        conversation_id: str | None = None, system_prompt: str | None = None, think: bool | str | None = None,
        logprobs: bool | None = None, top_logprobs: int | None = None, format: Format = None,
        options: AnyOptions | None = None, keep_alive: float | str | None = None, truncate: bool | None = None,
        shift: bool | None = None,
    ) -> wire.GenerateResponse: ...
    @overload
    async def generate(
        self, model: str = "", prompt: str | None = None, suffix: str | None = None, *, stream: Literal[True],
        system: str | None = None, template: str | None = None, context: Sequence[int] | None = None,
        raw: bool | None = None, images: Sequence[ImageSource] | None = None, width: int | None = None,
        height: int | None = None, steps: int | None = None, conversation_id: str | None = None,
        system_prompt: str | None = None, think: bool | str | None = None, logprobs: bool | None = None,
        top_logprobs: int | None = None, format: Format = None, options: AnyOptions | None = None,
        keep_alive: float | str | None = None, truncate: bool | None = None, shift: bool | None = None,
    ) -> AsyncIterator[wire.GenerateResponse]: ...
    # fmt: on
    @spelled_out
    async def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: bool = False,
        **extras: Unpack[GenerateExtras],
    ) -> wire.GenerateResponse | AsyncIterator[wire.GenerateResponse]:
        """Complete a prompt, whole or with `stream` in pieces; with a `suffix`, fill in the text between the two.

        `raw` sends the prompt without a template. `images` are paths, bytes or base64. With a `conversation_id` of your
        choice the daemon keeps the conversation; "" starts one, whose id is in the answer. The rest is as in `chat`.
        """
        call = calls.generate(model, prompt, suffix, stream, **extras)
        return self._stream(call) if stream else await self._send(call)

    # fmt: off
    @overload
    async def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: Literal[False] = False,
        tools: Sequence[AnyTool] | None = None, tool_choice: ToolChoice = None, think: bool | str | None = None,
        logprobs: bool | None = None, top_logprobs: int | None = None, format: Format = None,
        options: AnyOptions | None = None, keep_alive: float | str | None = None, truncate: bool | None = None,
        shift: bool | None = None,
    ) -> types.ChatResponse: ...
    @overload
    async def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: Literal[True],
        tools: Sequence[AnyTool] | None = None, tool_choice: ToolChoice = None, think: bool | str | None = None,
        logprobs: bool | None = None, top_logprobs: int | None = None, format: Format = None,
        options: AnyOptions | None = None, keep_alive: float | str | None = None, truncate: bool | None = None,
        shift: bool | None = None,
    ) -> AsyncIterator[types.ChatResponse]: ...
    # fmt: on
    @spelled_out
    async def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> types.ChatResponse | AsyncIterator[types.ChatResponse]:
        """The assistant's next message, whole or with `stream` in pieces.

        `tools` are Python functions with annotations and a docstring, or descriptions with a JSON schema. `tool_choice`
        is an extension of oprel, in OpenAI's form. `format` is "json" or a JSON schema, `keep_alive` a time in seconds
        or like "5m". `options` has names such as "temperature" and "num_ctx": `oprel.Options` lists them.
        `truncate=False` refuses a prompt that does not fit; `shift=False` ends an answer that outgrows the context.
        """
        call = calls.chat(model, messages, stream, **extras)
        return self._stream(call) if stream else await self._send(call)

    async def embed(
        self,
        model: str = "",
        input: str | Sequence[str] = "",
        truncate: bool | None = None,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
        dimensions: int | None = None,
        input_type: str | None = None,
    ) -> wire.EmbedResponse:
        """One L2-normalised vector per input, in order. `input_type`: such as "query", selects one of its prompts."""
        shape = {"truncate": truncate, "dimensions": dimensions, "input_type": input_type}
        extras = {"options": options, "keep_alive": keep_alive, **shape}
        return await self._send(calls.embed(model, input, **extras))

    async def embeddings(
        self,
        model: str = "",
        prompt: str | None = None,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
    ) -> wire.EmbeddingsResponse:
        """Ollama's older call for a single vector."""
        return await self._send(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    # fmt: off
    @overload
    async def pull(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> wire.ProgressResponse: ...  # noqa: E501
    @overload
    async def pull(self, model: str, *, insecure: bool = False, stream: Literal[True]) -> AsyncIterator[wire.ProgressResponse]: ...  # noqa: E501
    # fmt: on
    async def pull(
        self, model: str, *, insecure: bool = False, stream: bool = False
    ) -> wire.ProgressResponse | AsyncIterator[wire.ProgressResponse]:
        """Download a model from the source in its name."""
        call = calls.pull(model, insecure, stream)
        return self._stream(call) if stream else await self._send(call)

    async def search(self, words: str = "", *, limit: int = 20) -> downloads_wire.SearchResponse:
        """Models on Hugging Face that match these words and can be run, the most downloaded first."""
        return await self._send(calls.search(words, limit))

    async def download(self, model: str) -> downloads_wire.DownloadTask:
        """Have the daemon download a model in the background; it resumes after a restart of the daemon."""
        return await self._send(calls.download(model))

    async def downloads(self) -> downloads_wire.DownloadsResponse:
        """All downloads of the daemon, oldest first."""
        return await self._send(calls.downloads())

    async def download_status(self, id: str) -> downloads_wire.DownloadTask:
        """The progress of a download."""
        return await self._send(calls.one_download(id))

    async def pause_download(self, id: str) -> downloads_wire.DownloadTask:
        """Pause a download; `resume_download` continues it."""
        return await self._send(calls.one_download(id, "POST", "/pause"))

    async def resume_download(self, id: str) -> downloads_wire.DownloadTask:
        """Continue a download that was paused or has failed."""
        return await self._send(calls.one_download(id, "POST", "/resume"))

    async def cancel_download(self, id: str) -> downloads_wire.DownloadTask:
        """Cancel a download and delete its partial files."""
        return await self._send(calls.one_download(id, "DELETE"))

    # fmt: off
    @overload
    async def push(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> wire.ProgressResponse: ...  # noqa: E501
    @overload
    async def push(self, model: str, *, insecure: bool = False, stream: Literal[True]) -> AsyncIterator[wire.ProgressResponse]: ...  # noqa: E501
    # fmt: on
    async def push(
        self, model: str, *, insecure: bool = False, stream: bool = False
    ) -> wire.ProgressResponse | AsyncIterator[wire.ProgressResponse]:
        """Publish a model, if the daemon can."""
        call = calls.push(model, insecure, stream)
        return self._stream(call) if stream else await self._send(call)

    # fmt: off
    @overload
    async def create(
        self, model: str, quantize: str | None = None, from_: str | None = None,
        files: Mapping[str, str] | None = None, adapters: Mapping[str, str] | None = None,
        template: str | None = None, license: str | Sequence[str] | None = None, system: str | None = None,
        parameters: AnyOptions | None = None, messages: Messages | None = None, *, stream: Literal[False] = False,
    ) -> wire.ProgressResponse: ...
    @overload
    async def create(
        self, model: str, quantize: str | None = None, from_: str | None = None,
        files: Mapping[str, str] | None = None, adapters: Mapping[str, str] | None = None,
        template: str | None = None, license: str | Sequence[str] | None = None, system: str | None = None,
        parameters: AnyOptions | None = None, messages: Messages | None = None, *, stream: Literal[True],
    ) -> AsyncIterator[wire.ProgressResponse]: ...
    # fmt: on
    async def create(
        self,
        model: str,
        quantize: str | None = None,
        from_: str | None = None,
        files: Mapping[str, str] | None = None,
        adapters: Mapping[str, str] | None = None,
        template: str | None = None,
        license: str | Sequence[str] | None = None,
        system: str | None = None,
        parameters: AnyOptions | None = None,
        messages: Messages | None = None,
        *,
        stream: bool = False,
    ) -> wire.ProgressResponse | AsyncIterator[wire.ProgressResponse]:
        """Create a model from another, or from `files`: names with the digests that `create_blob` returned."""
        given = {"files": files, "adapters": adapters, "license": license, "parameters": parameters}
        texts = {"quantize": quantize, "template": template, "system": system}
        call = calls.create(model, from_, messages, stream, **given, **texts)
        return self._stream(call) if stream else await self._send(call)

    async def create_blob(self, path: str | Path) -> str:
        """Upload a file, unless the daemon has it, and return its digest. Raises OSError."""
        digest = await anyio.to_thread.run_sync(blobs.digest_of, path)
        with connection_errors(self.address):
            exists = (await self._http.head(f"/api/blobs/{digest}")).is_success
        if not exists:
            await self._send(calls.upload_blob(digest), blobs.chunks_async(path), blobs.length(path))
        return digest

    async def list(self) -> types.ListResponse:
        """The installed models."""
        return await self._send(calls.list_models())

    async def delete(self, model: str) -> types.StatusResponse:
        """Delete a model."""
        return await self._send(calls.delete(model))

    async def copy(self, source: str, destination: str) -> types.StatusResponse:
        """Give a model a second name."""
        return await self._send(calls.copy(source, destination))

    async def show(self, model: str, *, verbose: bool = False) -> types.ShowResponse:
        """Details of a model; with `verbose` also long arrays."""
        return await self._send(calls.show(model, verbose=verbose))

    async def ps(self) -> types.ProcessResponse:
        """The loaded models."""
        return await self._send(calls.ps())

    async def engines(self) -> daemon_wire.ModelsResponse:
        """The engines of the loaded models: state, process, address."""
        return await self._send(calls.engines())

    async def health(self) -> daemon_wire.HealthResponse:
        """The daemon's version and process, and the engines that it can use."""
        return await self._send(calls.health())

    async def crashes(self) -> daemon_wire.CrashesResponse:
        """The engine crashes, newest first."""
        return await self._send(calls.crashes())

    async def crash(self, text: str) -> daemon_wire.Crash:
        """The newest crash with `text` in its ID, in full detail."""
        return await self._send(calls.crash(text))

    async def logs(self, model: str, *, follow: bool = False) -> AsyncIterator[str]:
        """The last log lines of a model's engine; with `follow` also new ones, until it is unloaded."""
        return self._lines(calls.logs(model, follow))

    async def quarantine(self) -> daemon_wire.QuarantineResponse:
        """The requests that are refused because they crashed an engine twice."""
        return await self._send(calls.quarantine())

    async def clear_quarantine(self, hash: str | None = None) -> daemon_wire.ClearedResponse:
        """Accept again the requests whose hash starts like this, or all."""
        return await self._send(calls.clear_quarantine(hash))

    async def library(self, **filters: Unpack[calls.LibraryFilters]) -> library_wire.LibraryResponse:
        """Models and the programs that keep them; filters take several values. Status "available": can be pulled."""
        return await self._send(calls.library(filters))

    async def remove(self, model: str) -> library_wire.RemovedResponse:
        """Delete a model and the files that no other model uses."""
        return await self._send(calls.remove(model))

    async def import_model(self, model: str, path: str, *, how: str = "link") -> AsyncIterator[wire.ProgressResponse]:
        """Give a file on this machine a name; `how` is "link", "copy" or "in_place"."""
        return self._stream(calls.import_model(model, path, how))

    async def cache(self) -> library_wire.CacheResponse:
        """The files of the models, the largest first."""
        return await self._send(calls.cache())

    async def verify_cache(self, *, all: bool = False) -> AsyncIterator[wire.ProgressResponse]:
        """Verify the files against their digests; with `all` also those of other programs."""
        return self._stream(calls.verify_cache(all))

    async def clear_cache(self, *, all: bool = False) -> library_wire.RemovedResponse:
        """Delete files that no model uses; with `all` every model that oprel keeps."""
        return await self._send(calls.clear_cache(all))

    async def load(
        self,
        model: str,
        *,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
        fetch: bool = True,
        progress: Progress | None = None,
    ) -> wire.LoadResponse:
        """Load a model, and return once it is ready.

        One that is not installed is downloaded first, unless `fetch` is false. `progress` is called with each step of
        the download: its `status`, and the `total` and `completed` bytes of a file.
        """
        report = FetchReport(progress)
        async for step in self._stream(calls.load(model, options=options, keep_alive=keep_alive, fetch=fetch)):
            report.step(step)
        return step

    async def unload(self, model: str) -> wire.UnloadResponse:
        """Unload a model, once its last answer is finished."""
        return await self._send(calls.unload(model))
