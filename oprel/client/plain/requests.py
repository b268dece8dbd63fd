"""The requests of simple commands as data, and the errors in their answers. `calls` adds the other requests."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from oprel.core.exceptions import ConnectError, OprelError, UnsupportedError, error_classes

if TYPE_CHECKING:
    from oprel import api_models as wire
    from oprel.client import types
    from oprel.wire import daemon as daemon_wire
    from oprel.wire import downloads as downloads_wire
    from oprel.wire import library as library_wire

Answer = TypeVar("Answer")

SUCCESS = b'{"status":"success"}'
NO_SUCH_CALL = ("404 page not found", "405 method not allowed")  # the texts of Ollama and of the daemon
SPEAKS_HTTPS = "this port speaks HTTPS"  # how the daemon answers plain HTTP there
NOT_OPREL = "the server at this address is not oprel"


class PlainRequest(NamedTuple, Generic[Answer]):
    """`Answer` is the wire type of the answer, or of each line if it streams; this module does not import it."""

    method: str
    path: str
    body: Mapping[str, object] | None = None
    if_empty: bytes = b""  # the meaning of an answer without a body


def list_models() -> "PlainRequest[types.ListResponse]":
    return PlainRequest("GET", "/api/tags")


def ps() -> "PlainRequest[types.ProcessResponse]":
    return PlainRequest("GET", "/api/ps")


def engines() -> "PlainRequest[daemon_wire.ModelsResponse]":
    return PlainRequest("GET", "/models")


def health() -> "PlainRequest[daemon_wire.HealthResponse]":
    return PlainRequest("GET", "/health")


def downloads() -> "PlainRequest[downloads_wire.DownloadsResponse]":
    return PlainRequest("GET", "/api/models/download")


def one_download(id: str, method: str = "GET", verb: str = "") -> "PlainRequest[downloads_wire.DownloadTask]":
    return PlainRequest(method, f"/api/models/download/{_quoted(id)}{verb}")


def copy(source: str, destination: str) -> "PlainRequest[types.StatusResponse]":
    return PlainRequest("POST", "/api/copy", {"source": source, "destination": destination}, SUCCESS)


def remove(model: str) -> "PlainRequest[library_wire.RemovedResponse]":
    return PlainRequest("DELETE", f"/api/models/library/{_quoted(model)}")


def show(model: str, *, verbose: bool = False) -> "PlainRequest[types.ShowResponse]":
    return _of_model("/api/show", model, {"verbose": verbose or None})


def unload(model: str) -> "PlainRequest[wire.UnloadResponse]":
    return _of_model("/unload", model, {})


def generate(model: str, body: Mapping[str, object]) -> "PlainRequest[wire.GenerateResponse]":
    return _of_model("/api/generate", model, body)


def embed(model: str, body: Mapping[str, object]) -> "PlainRequest[wire.EmbedResponse]":
    return _of_model("/api/embed", model, body)


def pull(model: str, insecure: bool, stream: bool) -> "PlainRequest[wire.ProgressResponse]":
    return _of_model("/api/pull", model, {"insecure": insecure, "stream": stream})


def _of_model(path: str, model: str, body: Mapping[str, object]) -> "PlainRequest[Answer]":
    return PlainRequest("POST", path, body_for(model, body))


def body_for(model: str, fields: Mapping[str, object]) -> dict[str, object]:
    """A request's body about `model`: the fields that have a value."""
    from oprel.core.names import absolute

    # The daemon runs in another folder, where a relative path would be wrong.
    return {"model": absolute(model), **{name: value for name, value in fields.items() if value is not None}}


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def rebuilt(content: bytes, status: int | None = None) -> OprelError:
    """The error in an answer, or, without a status, in the last line of a stream."""
    error = _error(content, status)
    error.status_code = status or error.http_status
    return error


def not_oprel(why: str = "") -> OprelError:
    return OprelError(f"{NOT_OPREL}{why}", "Check OPREL_HOST.")


def _error(content: bytes, status: int | None) -> OprelError:
    try:
        body = json.loads(content)
        error = body["error"]
        detail = error if isinstance(error, dict) else {"type": body.get("code"), "message": error, **body}
        cls = error_classes().get(str(detail["type"]), OprelError)
        return cls(str(detail["message"]), *(str(step) for step in detail.get("resolution_steps", ())))
    except (ValueError, KeyError, TypeError, AttributeError):
        if content.decode(errors="replace") in NO_SUCH_CALL:
            return UnsupportedError(
                "the daemon does not have this call",
                "It is older than this client: `oprel restart`, or update it on its machine.",
            )
        if (text := content.decode(errors="replace")).startswith(SPEAKS_HTTPS):
            return ConnectError(text.strip())
        return not_oprel(f" (HTTP {status})")
