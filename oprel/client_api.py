"""The client of a daemon: `Client`, and this module's functions, which use a client with the default configuration.

Names and arguments are those of Ollama's Python client, plus `load`, `unload` and others. Every method may raise
ConnectError, ModelNotFoundError, ValidationError, UnsupportedError or BackendError. `AsyncClient` is in client_async.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack, overload

from oprel import api_models as wire
from oprel.client import blobs, calls, types
from oprel.client.calls import ChatExtras, GenerateExtras, Messages
from oprel.client.connect import connection_errors
from oprel.client.fetching import FetchReport, Progress
from oprel.client.shared.blocking import BlockingClient
from oprel.client.shared.signatures import spelled_out
from oprel.client.types import AnyOptions, AnyTool, Format, ImageSource, ToolChoice
from oprel.wire import daemon as daemon_wire
from oprel.wire import downloads as downloads_wire
from oprel.wire import library as library_wire


class Client(BlockingClient):
    """A synchronous client. `host` is an address like "http://box:11435" or "unix:/run/oprel.sock".

    Without one it uses this machine's own daemon. That is started if none runs, unless `start` is false.
    `timeout`, `headers` and further arguments are passed to httpx's client.
    """

    # fmt: off
    @overload
    def generate(
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
    def generate(
        self, model: str = "", prompt: str | None = None, suffix: str | None = None, *, stream: Literal[True],
        system: str | None = None, template: str | None = None, context: Sequence[int] | None = None,
        raw: bool | None = None, images: Sequence[ImageSource] | None = None, width: int | None = None,
        height: int | None = None, steps: int | None = None, conversation_id: str | None = None,
        system_prompt: str | None = None, think: bool | str | None = None, logprobs: bool | None = None,
        top_logprobs: int | None = None, format: Format = None, options: AnyOptions | None = None,
        keep_alive: float | str | None = None, truncate: bool | None = None, shift: bool | None = None,
    ) -> Iterator[wire.GenerateResponse]: ...
    # fmt: on
    @spelled_out
    def generate(
        self,
        model: str = "",
        prompt: str | None = None,
        suffix: str | None = None,
        *,
        stream: bool = False,
        **extras: Unpack[GenerateExtras],
    ) -> wire.GenerateResponse | Iterator[wire.GenerateResponse]:
        """Complete a prompt, whole or with `stream` in pieces; with a `suffix`, fill in the text between the two.

        `raw` sends the prompt without a template. `images` are paths, bytes or base64. With a `conversation_id` of your
        choice the daemon keeps the conversation; "" starts one, whose id is in the answer. The rest is as in `chat`.
        """
        call = calls.generate(model, prompt, suffix, stream, **extras)
        return self._stream(call) if stream else self._send(call)

    # fmt: off
    @overload
    def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: Literal[False] = False,
        tools: Sequence[AnyTool] | None = None, tool_choice: ToolChoice = None, think: bool | str | None = None,
        logprobs: bool | None = None, top_logprobs: int | None = None, format: Format = None,
        options: AnyOptions | None = None, keep_alive: float | str | None = None, truncate: bool | None = None,
        shift: bool | None = None,
    ) -> types.ChatResponse: ...
    @overload
    def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: Literal[True],
        tools: Sequence[AnyTool] | None = None, tool_choice: ToolChoice = None, think: bool | str | None = None,
        logprobs: bool | None = None, top_logprobs: int | None = None, format: Format = None,
        options: AnyOptions | None = None, keep_alive: float | str | None = None, truncate: bool | None = None,
        shift: bool | None = None,
    ) -> Iterator[types.ChatResponse]: ...
    # fmt: on
    @spelled_out
    def chat(
        self, model: str = "", messages: Messages | None = None, *, stream: bool = False, **extras: Unpack[ChatExtras]
    ) -> types.ChatResponse | Iterator[types.ChatResponse]:
        """The assistant's next message, whole or with `stream` in pieces.

        `tools` are Python functions with annotations and a docstring, or descriptions with a JSON schema. `tool_choice`
        is an extension of oprel, in OpenAI's form. `format` is "json" or a JSON schema, `keep_alive` a time in seconds
        or like "5m". `options` has names such as "temperature" and "num_ctx": `oprel.Options` lists them.
        `truncate=False` refuses a prompt that does not fit; `shift=False` ends an answer that outgrows the context.
        """
        call = calls.chat(model, messages, stream, **extras)
        return self._stream(call) if stream else self._send(call)

    def embed(
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
        return self._send(calls.embed(model, input, **extras))

    def embeddings(
        self,
        model: str = "",
        prompt: str | None = None,
        options: AnyOptions | None = None,
        keep_alive: float | str | None = None,
    ) -> wire.EmbeddingsResponse:
        """Ollama's older call for a single vector."""
        return self._send(calls.embeddings(model, prompt, options=options, keep_alive=keep_alive))

    # fmt: off
    @overload
    def pull(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> wire.ProgressResponse: ...
    @overload
    def pull(self, model: str, *, insecure: bool = False, stream: Literal[True]) -> Iterator[wire.ProgressResponse]: ...
    # fmt: on
    def pull(
        self, model: str, *, insecure: bool = False, stream: bool = False
    ) -> wire.ProgressResponse | Iterator[wire.ProgressResponse]:
        """Download a model from the source in its name."""
        call = calls.pull(model, insecure, stream)
        return self._stream(call) if stream else self._send(call)

    def search(self, words: str = "", *, limit: int = 20) -> downloads_wire.SearchResponse:
        """Models on Hugging Face that match these words and can be run, the most downloaded first."""
        return self._send(calls.search(words, limit))

    def download(self, model: str) -> downloads_wire.DownloadTask:
        """Have the daemon download a model in the background; it resumes after a restart of the daemon."""
        return self._send(calls.download(model))

    def downloads(self) -> downloads_wire.DownloadsResponse:
        """All downloads of the daemon, oldest first."""
        return self._send(calls.downloads())

    def download_status(self, id: str) -> downloads_wire.DownloadTask:
        """The progress of a download."""
        return self._send(calls.one_download(id))

    def pause_download(self, id: str) -> downloads_wire.DownloadTask:
        """Pause a download; `resume_download` continues it."""
        return self._send(calls.one_download(id, "POST", "/pause"))

    def resume_download(self, id: str) -> downloads_wire.DownloadTask:
        """Continue a download that was paused or has failed."""
        return self._send(calls.one_download(id, "POST", "/resume"))

    def cancel_download(self, id: str) -> downloads_wire.DownloadTask:
        """Cancel a download and delete its partial files."""
        return self._send(calls.one_download(id, "DELETE"))

    # fmt: off
    @overload
    def push(self, model: str, *, insecure: bool = False, stream: Literal[False] = False) -> wire.ProgressResponse: ...
    @overload
    def push(self, model: str, *, insecure: bool = False, stream: Literal[True]) -> Iterator[wire.ProgressResponse]: ...
    # fmt: on
    def push(
        self, model: str, *, insecure: bool = False, stream: bool = False
    ) -> wire.ProgressResponse | Iterator[wire.ProgressResponse]:
        """Publish a model, if the daemon can."""
        call = calls.push(model, insecure, stream)
        return self._stream(call) if stream else self._send(call)

    # fmt: off
    @overload
    def create(
        self, model: str, quantize: str | None = None, from_: str | None = None,
        files: Mapping[str, str] | None = None, adapters: Mapping[str, str] | None = None,
        template: str | None = None, license: str | Sequence[str] | None = None, system: str | None = None,
        parameters: AnyOptions | None = None, messages: Messages | None = None, *, stream: Literal[False] = False,
    ) -> wire.ProgressResponse: ...
    @overload
    def create(
        self, model: str, quantize: str | None = None, from_: str | None = None,
        files: Mapping[str, str] | None = None, adapters: Mapping[str, str] | None = None,
        template: str | None = None, license: str | Sequence[str] | None = None, system: str | None = None,
        parameters: AnyOptions | None = None, messages: Messages | None = None, *, stream: Literal[True],
    ) -> Iterator[wire.ProgressResponse]: ...
    # fmt: on
    def create(
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
    ) -> wire.ProgressResponse | Iterator[wire.ProgressResponse]:
        """Create a model from another, or from `files`: names with the digests that `create_blob` returned."""
        given = {"files": files, "adapters": adapters, "license": license, "parameters": parameters}
        texts = {"quantize": quantize, "template": template, "system": system}
        call = calls.create(model, from_, messages, stream, **given, **texts)
        return self._stream(call) if stream else self._send(call)

    def create_blob(self, path: str | Path) -> str:
        """Upload a file, unless the daemon has it, and return its digest. Raises OSError."""
        digest = blobs.digest_of(path)
        with connection_errors(self.address):
            exists = self._http.head(f"/api/blobs/{digest}").is_success
        if not exists:
            self._send(calls.upload_blob(digest), blobs.chunks(path), blobs.length(path))
        return digest

    def list(self) -> types.ListResponse:
        """The installed models."""
        return self._send(calls.list_models())

    def delete(self, model: str) -> types.StatusResponse:
        """Delete a model."""
        return self._send(calls.delete(model))

    def copy(self, source: str, destination: str) -> types.StatusResponse:
        """Give a model a second name."""
        return self._send(calls.copy(source, destination))

    def show(self, model: str, *, verbose: bool = False) -> types.ShowResponse:
        """Details of a model; with `verbose` also long arrays."""
        return self._send(calls.show(model, verbose=verbose))

    def ps(self) -> types.ProcessResponse:
        """The loaded models."""
        return self._send(calls.ps())

    def engines(self) -> daemon_wire.ModelsResponse:
        """The engines of the loaded models: state, process, address."""
        return self._send(calls.engines())

    def health(self) -> daemon_wire.HealthResponse:
        """The daemon's version and process, and the engines that it can use."""
        return self._send(calls.health())

    def crashes(self) -> daemon_wire.CrashesResponse:
        """The engine crashes, newest first."""
        return self._send(calls.crashes())

    def crash(self, text: str) -> daemon_wire.Crash:
        """The newest crash with `text` in its ID, in full detail."""
        return self._send(calls.crash(text))

    def logs(self, model: str, *, follow: bool = False) -> Iterator[str]:
        """The last log lines of a model's engine; with `follow` also new ones, until it is unloaded."""
        return self._lines(calls.logs(model, follow))

    def quarantine(self) -> daemon_wire.QuarantineResponse:
        """The requests that are refused because they crashed an engine twice."""
        return self._send(calls.quarantine())

    def clear_quarantine(self, hash: str | None = None) -> daemon_wire.ClearedResponse:
        """Accept again the requests whose hash starts like this, or all."""
        return self._send(calls.clear_quarantine(hash))

    def library(self, **filters: Unpack[calls.LibraryFilters]) -> library_wire.LibraryResponse:
        """Models and the programs that keep them; filters take several values. Status "available": can be pulled."""
        return self._send(calls.library(filters))

    def remove(self, model: str) -> library_wire.RemovedResponse:
        """Delete a model and the files that no other model uses."""
        return self._send(calls.remove(model))

    def import_model(self, model: str, path: str, *, how: str = "link") -> Iterator[wire.ProgressResponse]:
        """Give a file on this machine a name; `how` is "link", "copy" or "in_place"."""
        return self._stream(calls.import_model(model, path, how))

    def cache(self) -> library_wire.CacheResponse:
        """The files of the models, the largest first."""
        return self._send(calls.cache())

    def verify_cache(self, *, all: bool = False) -> Iterator[wire.ProgressResponse]:
        """Verify the files against their digests; with `all` also those of other programs."""
        return self._stream(calls.verify_cache(all))

    def clear_cache(self, *, all: bool = False) -> library_wire.RemovedResponse:
        """Delete files that no model uses; with `all` every model that oprel keeps."""
        return self._send(calls.clear_cache(all))

    def load(
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
        for step in self._stream(calls.load(model, options=options, keep_alive=keep_alive, fetch=fetch)):
            report.step(step)
        return step

    def unload(self, model: str) -> wire.UnloadResponse:
        """Unload a model, once its last answer is finished."""
        return self._send(calls.unload(model))


_default = Client()
generate, chat, embed, embeddings = _default.generate, _default.chat, _default.embed, _default.embeddings
pull, push, search = _default.pull, _default.push, _default.search
create, create_blob, copy, delete = _default.create, _default.create_blob, _default.copy, _default.delete
list, show, ps, load, unload = _default.list, _default.show, _default.ps, _default.load, _default.unload
