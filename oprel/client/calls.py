"""Every call of the API as data, free of any connection: what to send, and what to make of the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar

import pydantic
import pydantic_core
from pydantic import JsonValue

from oprel import api_models as wire
from oprel.core.exceptions import BackendCrashedError, OprelError, error_classes
from oprel.core.names import absolute

Result = TypeVar("Result", bound=wire.Wire)

Messages = Sequence[wire.Message | Mapping[str, JsonValue]]
Options = Mapping[str, JsonValue]


class Extras(TypedDict, total=False):
    """What every completion takes; see Ollama's API for their meaning. `keep_alive` in seconds or as "5m"."""

    options: Options | None
    format: JsonValue
    keep_alive: float | str | None
    think: bool | str | None
    logprobs: bool | None
    top_logprobs: int | None


class ChatExtras(Extras, total=False):
    """`tools` are JSON-schema descriptions in OpenAI's and Ollama's form."""

    tools: Sequence[Mapping[str, JsonValue]] | None


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request, and the type of its answer (of each line, when it streams)."""

    method: str
    path: str
    result: type[Result]
    body: Mapping[str, object] | None = None

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else pydantic_core.to_json(self.body)

    def parse(self, status: int, content: bytes) -> Result:
        """The answer. Raises the OprelError that the daemon raised, rebuilt from its code."""
        if status >= 400:
            raise _rebuilt(status, content)
        try:
            return self.result.model_validate_json(content)
        except pydantic.ValidationError as error:
            raise OprelError("what answers there is not oprel", "Is OPREL_HOST right?") from error

    def parse_line(self, line: str) -> Result:
        """One line of a stream. Raises the OprelError that ended it."""
        if line.startswith('{"error"'):
            raise _rebuilt(500, line.encode())
        return self.parse(200, line.encode())


def generate(
    model: str, prompt: str, stream: bool, system: str | None, raw: bool, **extras: object
) -> Call[wire.GenerateResponse]:
    body = {"prompt": prompt, "stream": stream, "system": system, "raw": raw}
    return _post("/api/generate", wire.GenerateResponse, model, body | extras)


def chat(model: str, messages: Messages, stream: bool, **extras: object) -> Call[wire.ChatResponse]:
    plain = [
        message.model_dump(exclude_none=True) if isinstance(message, wire.Message) else message for message in messages
    ]
    return _post("/api/chat", wire.ChatResponse, model, {"messages": plain, "stream": stream} | extras)


def embed(model: str, input: str | Sequence[str], **extras: object) -> Call[wire.EmbedResponse]:
    return _post("/api/embed", wire.EmbedResponse, model, {"input": input, **extras})


def embeddings(model: str, prompt: str, **extras: object) -> Call[wire.EmbeddingsResponse]:
    return _post("/api/embeddings", wire.EmbeddingsResponse, model, {"prompt": prompt, **extras})


def list_models() -> Call[wire.ListResponse]:
    return Call("GET", "/api/tags", wire.ListResponse)


def ps() -> Call[wire.ProcessResponse]:
    return Call("GET", "/api/ps", wire.ProcessResponse)


def engines() -> Call[wire.ModelsResponse]:
    return Call("GET", "/models", wire.ModelsResponse)


def health() -> Call[wire.HealthResponse]:
    return Call("GET", "/health", wire.HealthResponse)


def show(model: str) -> Call[wire.ShowResponse]:
    return _post("/api/show", wire.ShowResponse, model, {})


def load(model: str, **extras: object) -> Call[wire.LoadResponse]:
    return _post("/load", wire.LoadResponse, model, extras)


def unload(model: str) -> Call[wire.UnloadResponse]:
    return _post("/unload", wire.UnloadResponse, model, {})


def unfinished() -> OprelError:
    """The error for a stream that ended without its last line: never let it pass for a whole answer."""
    return BackendCrashedError("the answer broke off: the daemon ended the stream without finishing it", "Ask again.")


def _post(path: str, result: type[Result], model: str, body: Mapping[str, object]) -> Call[Result]:
    # The daemon runs in another folder: a relative path means nothing there.
    given = {name: value for name, value in body.items() if value is not None}
    return Call("POST", path, result, {"model": absolute(model), **given})


def _rebuilt(status: int, content: bytes) -> OprelError:
    try:
        body = pydantic_core.from_json(content)
        error = body["error"]
        detail = error if isinstance(error, dict) else {"type": body.get("code"), "message": error, **body}
        cls = error_classes().get(str(detail["type"]), OprelError)
        return cls(str(detail["message"]), *(str(step) for step in detail.get("resolution_steps", ())))
    except (ValueError, KeyError, TypeError, AttributeError):
        return OprelError(f"what answers there is not oprel (HTTP {status})", "Is OPREL_HOST right?")
