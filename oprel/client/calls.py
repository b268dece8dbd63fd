"""Every call of the API as data, without a connection: what to send, and how to read the answer."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlencode

import pydantic
import pydantic_core

from oprel import api_models as wire
from oprel.client import types
from oprel.client.fetching import FETCHING
from oprel.client.functions import function_tool
from oprel.client.plain import requests
from oprel.client.plain.requests import SUCCESS, PlainRequest, body_for, rebuilt
from oprel.core.exceptions import BackendCrashedError, OprelError, ValidationError
from oprel.core.names import absolute
from oprel.wire import daemon as daemon_wire
from oprel.wire import downloads as downloads_wire
from oprel.wire import library as library_wire

Result = TypeVar("Result", bound=wire.Wire)

Messages = Sequence[types.AnyMessage]

NOT_IN_CONVERSATIONS = ("suffix", "template", "context", "raw", "images", "width", "height", "steps")


class Extras(TypedDict, total=False):
    """Arguments of every completion. `Client.chat` says what they mean; a test compares each signature with these."""

    options: types.AnyOptions | None
    format: types.Format
    keep_alive: float | str | None
    think: bool | str | None
    logprobs: bool | None
    top_logprobs: int | None
    truncate: bool | None
    shift: bool | None


class GenerateExtras(Extras, total=False):
    """`width`, `height` and `steps` are for models that make images. `system_prompt` is another name of `system`."""

    conversation_id: str | None
    system: str | None
    system_prompt: str | None
    template: str | None
    context: Sequence[int] | None
    raw: bool | None
    images: Sequence[types.ImageSource] | None
    width: int | None
    height: int | None
    steps: int | None


class ChatExtras(Extras, total=False):
    tools: Sequence[types.AnyTool] | None
    tool_choice: types.ToolChoice


@dataclass(frozen=True)
class ApiCall(Generic[Result]):
    """One request, and the type of its answer (of each line, if it streams)."""

    method: str
    path: str
    result: type[Result]
    body: Mapping[str, object] | None = None
    if_empty: bytes = b""  # the meaning of an answer without a body

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else pydantic_core.to_json(self.body, exclude_none=True)

    def parse(self, status: int, content: bytes) -> Result:
        """The answer. Raises the OprelError of the daemon, rebuilt from its code."""
        if status >= 400:
            raise rebuilt(content, status)
        try:
            return self.result.model_validate_json(content or self.if_empty)
        except pydantic.ValidationError as error:
            raise requests.not_oprel() from error

    def parse_line(self, line: str) -> Result:
        """One line of a stream. Raises the OprelError that ended the stream."""
        if line.startswith('{"error"'):
            raise rebuilt(line.encode())
        return self.parse(200, line.encode())


def generate(
    model: str, prompt: str | None, suffix: str | None, stream: bool, **extras: Unpack[GenerateExtras]
) -> ApiCall[wire.GenerateResponse]:
    _check("generate", extras, GenerateExtras.__optional_keys__)
    conversation, system = extras.pop("conversation_id", None), _system(extras)
    body: dict[str, object] = {"prompt": prompt, "suffix": suffix, "stream": stream, **extras}
    if conversation is None:
        images = [types.encoded(image) for image in extras.get("images") or ()]
        body |= {"system": system, "images": images or None}
        return _typed(requests.generate(model, body), wire.GenerateResponse)
    if refused := [name for name in NOT_IN_CONVERSATIONS if body.get(name)]:
        raise ValidationError(
            f"generate with a conversation_id does not take {', '.join(refused)}", "Use chat() with all messages."
        )
    body |= {"conversation_id": conversation, "system_prompt": system}
    return _post("/generate", wire.ConversationResponse, model, body)


def _system(extras: GenerateExtras) -> str | None:
    """The system message, taken out of `extras`. Raises TypeError if it has both names."""
    system, other = extras.pop("system", None), extras.pop("system_prompt", None)
    if system is not None and other is not None:
        raise TypeError("system and system_prompt are the same argument: pass one of them")
    return other if system is None else system


def chat(
    model: str, messages: Messages | None, stream: bool, **extras: Unpack[ChatExtras]
) -> ApiCall[types.ChatResponse]:
    _check("chat", extras, ChatExtras.__optional_keys__)
    tools = [_tool(tool) for tool in extras.get("tools") or ()]
    body = {"messages": _messages(messages or ()), "stream": stream, **extras, "tools": tools or None}
    return _post("/api/chat", types.ChatResponse, model, body)


def embed(model: str, input: str | Sequence[str], **extras: object) -> ApiCall[wire.EmbedResponse]:
    return _typed(requests.embed(model, {"input": input, **extras}), wire.EmbedResponse)


def embeddings(model: str, prompt: str | None, **extras: object) -> ApiCall[wire.EmbeddingsResponse]:
    return _post("/api/embeddings", wire.EmbeddingsResponse, model, {"prompt": prompt, **extras})


def pull(model: str, insecure: bool, stream: bool) -> ApiCall[wire.ProgressResponse]:
    return _typed(requests.pull(model, insecure, stream), wire.ProgressResponse)


def push(model: str, insecure: bool, stream: bool) -> ApiCall[wire.ProgressResponse]:
    return _post("/api/push", wire.ProgressResponse, model, {"insecure": insecure, "stream": stream})


def search(words: str, limit: int) -> ApiCall[downloads_wire.SearchResponse]:
    query = urlencode({"q": words, "limit": limit})
    return ApiCall("GET", f"/api/search?{query}", downloads_wire.SearchResponse)


def download(model: str) -> ApiCall[downloads_wire.DownloadTask]:
    return _post("/api/models/download", downloads_wire.DownloadTask, model, {})


def downloads() -> ApiCall[downloads_wire.DownloadsResponse]:
    return _typed(requests.downloads(), downloads_wire.DownloadsResponse)


def one_download(id: str, method: str = "GET", verb: str = "") -> ApiCall[downloads_wire.DownloadTask]:
    return _typed(requests.one_download(id, method, verb), downloads_wire.DownloadTask)


def create(
    model: str, from_: str | None, messages: Messages | None, stream: bool, **extras: object
) -> ApiCall[wire.ProgressResponse]:
    base = absolute(from_) if from_ else from_
    body = {"from": base, "messages": _messages(messages or ()) or None, "stream": stream, **extras}
    return _post("/api/create", wire.ProgressResponse, model, body)


def copy(source: str, destination: str) -> ApiCall[types.StatusResponse]:
    return _typed(requests.copy(source, destination), types.StatusResponse)


def delete(model: str) -> ApiCall[types.StatusResponse]:
    return ApiCall("DELETE", "/api/delete", types.StatusResponse, {"model": model}, SUCCESS)


def upload_blob(digest: str) -> ApiCall[types.StatusResponse]:
    """The caller streams the body."""
    return ApiCall("POST", f"/api/blobs/{digest}", types.StatusResponse, None, SUCCESS)


def list_models() -> ApiCall[types.ListResponse]:
    return _typed(requests.list_models(), types.ListResponse)


def ps() -> ApiCall[types.ProcessResponse]:
    return _typed(requests.ps(), types.ProcessResponse)


def engines() -> ApiCall[daemon_wire.ModelsResponse]:
    return _typed(requests.engines(), daemon_wire.ModelsResponse)


def health() -> ApiCall[daemon_wire.HealthResponse]:
    return _typed(requests.health(), daemon_wire.HealthResponse)


def crashes() -> ApiCall[daemon_wire.CrashesResponse]:
    return ApiCall("GET", "/crashes", daemon_wire.CrashesResponse)


def crash(text: str) -> ApiCall[daemon_wire.Crash]:
    return ApiCall("GET", f"/crashes/{quote(text, safe='')}", daemon_wire.Crash)


def logs(model: str, follow: bool) -> ApiCall[wire.Wire]:
    """The answer is lines of text; only an error is an object."""
    query = urlencode({"model": absolute(model), "follow": str(follow).lower()})
    return ApiCall("GET", f"/logs?{query}", wire.Wire)


def quarantine() -> ApiCall[daemon_wire.QuarantineResponse]:
    return ApiCall("GET", "/quarantine", daemon_wire.QuarantineResponse)


def clear_quarantine(hash: str | None) -> ApiCall[daemon_wire.ClearedResponse]:
    path = "" if hash is None else f"/{quote(hash, safe='')}"
    return ApiCall("DELETE", f"/quarantine{path}", daemon_wire.ClearedResponse)


class LibraryFilters(TypedDict, total=False):
    """Of `GET /api/models/library`. `sort`: the name of an order, with "-" before it for the reverse.

    `page`: from 1, with `per_page` models; without it all come.
    """

    source: str
    provider: str
    served_by: str
    status: str
    capability: str
    q: str
    sort: str
    page: int
    per_page: int


def library(filters: LibraryFilters) -> ApiCall[library_wire.LibraryResponse]:
    return ApiCall("GET", f"/api/models/library?{urlencode(filters)}", library_wire.LibraryResponse)


def remove(model: str) -> ApiCall[library_wire.RemovedResponse]:
    return _typed(requests.remove(model), library_wire.RemovedResponse)


def import_model(model: str, path: str, how: str) -> ApiCall[wire.ProgressResponse]:
    place = os.path.abspath(os.path.expanduser(path))
    return _post("/api/models/import", wire.ProgressResponse, model, {"path": place, "how": how})


def cache() -> ApiCall[library_wire.CacheResponse]:
    return ApiCall("GET", "/api/models/cache", library_wire.CacheResponse)


def verify_cache(all: bool) -> ApiCall[wire.ProgressResponse]:
    return ApiCall("POST", "/api/models/cache/verify", wire.ProgressResponse, {"all": all})


def clear_cache(all: bool) -> ApiCall[library_wire.RemovedResponse]:
    return ApiCall("DELETE", "/api/models/cache", library_wire.RemovedResponse, {"all": all})


def show(model: str, *, verbose: bool = False) -> ApiCall[types.ShowResponse]:
    return _typed(requests.show(model, verbose=verbose), types.ShowResponse)


def load(model: str, **extras: object) -> ApiCall[wire.LoadResponse]:
    return _post("/load", wire.LoadResponse, model, {**extras, "stream": True})


def unload(model: str) -> ApiCall[wire.UnloadResponse]:
    return _typed(requests.unload(model), wire.UnloadResponse)


def is_last(
    piece: wire.GenerateResponse | wire.OllamaChatResponse | wire.ProgressResponse | wire.LoadResponse,
) -> bool:
    """True for the last piece of a complete stream."""
    if isinstance(piece, wire.LoadResponse):
        return piece.state != FETCHING
    return piece.status == "success" if isinstance(piece, wire.ProgressResponse) else piece.done


def unfinished() -> OprelError:
    """The error for a stream that ended without its last line, and so is not a complete answer."""
    return BackendCrashedError("the answer broke off: the daemon ended the stream without finishing it", "Ask again.")


def _post(path: str, result: type[Result], model: str, body: Mapping[str, object]) -> ApiCall[Result]:
    return ApiCall("POST", path, result, body_for(model, body))


def _typed(request: PlainRequest[Result], result: type[Result]) -> ApiCall[Result]:
    return ApiCall(request.method, request.path, result, request.body, request.if_empty)


def _given(body: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}


def _check(function: str, extras: Mapping[str, object], accepted: frozenset[str]) -> None:
    """Raises TypeError for another argument, like any Python function."""
    for name in extras.keys() - accepted:
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def _messages(messages: Messages) -> list[dict[str, object]]:
    if isinstance(messages, str):
        raise ValidationError("messages must be a list", 'Write [{"role": "user", "content": "..."}].')
    return [_message(message) for message in messages]


def _message(message: types.AnyMessage) -> dict[str, object]:
    if isinstance(message, wire.OllamaMessage):
        return message.model_dump(exclude_none=True)
    images = [types.encoded(image) for image in message.get("images") or ()]
    return _given({**message, "images": images or None})


def _tool(tool: types.AnyTool) -> types.Tool | Mapping[str, object]:
    return tool if isinstance(tool, types.Tool | Mapping) else function_tool(tool)
