"""What OpenAI's two APIs share: fields of requests, reasoning efforts, arguments of tool calls, images."""

from collections.abc import Mapping

import orjson
from pydantic import JsonValue

from oprel.api_models import KeepAlive, RequestBody
from oprel.core.completion import LoadOptions, Sampling
from oprel.core.exceptions import ValidationError
from oprel.core.models.manifests import Manifest
from oprel.server.api.common import decode

# OpenAI's defaults, below the model's own parameters.
DEFAULTS: Mapping[str, JsonValue] = {"temperature": 1.0, "top_p": 1.0}
EFFORTS = {
    **dict.fromkeys(("minimal", "low"), "low"),
    "medium": "medium",
    "high": "high",
    **dict.fromkeys(("xhigh", "ultra", "max"), "max"),
}
SYSTEM_ROLES = ("system", "developer")


class StreamOptions(RequestBody):
    include_usage: bool = False


class Reasoning(RequestBody):
    effort: str | None = None


class SamplingFields(RequestBody):
    """The fields that all completion requests share."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    n: int = 1
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None
    truncate: bool = False


def options(body: SamplingFields, manifest: Manifest, limit: int | None) -> tuple[Sampling, LoadOptions]:
    """OpenAI's defaults < the model's parameters < `options` < OpenAI's fields. `limit` in tokens."""
    fields = ("temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty")
    given: dict[str, JsonValue] = {name: getattr(body, name) for name in fields} | {"num_predict": limit}
    own: dict[str, JsonValue] = {**manifest.parameters}  # type: ignore[dict-item]  # a list of strings is JSON too
    present = {name: value for name, value in given.items() if value is not None}
    return decode.options({**DEFAULTS, **own, **body.options, **present}, manifest)


def think(effort: str | None) -> bool | str | None:
    """`think` for a reasoning effort. Raises ValidationError for an unknown effort."""
    if not effort:
        return None
    if effort == "none":
        return False
    if effort not in EFFORTS:
        raise ValidationError(f"invalid reasoning effort: {effort!r}", f"One of: none, {', '.join(EFFORTS)}.")
    return EFFORTS[effort]


def schema(given: Mapping[str, JsonValue] | None) -> Mapping[str, JsonValue] | None:
    """The schema of a `response_format`, wherever clients put it: {} for any object. Raises ValidationError.

    OpenAI has it in `json_schema.schema`, or in `schema` with its Responses; llama.cpp's clients and Anyscale's in
    `schema`, also of a `json_object`.
    """
    kind = given.get("type") if given else None
    if given is None or kind in (None, "", "text"):
        return None
    if kind not in ("json_object", "json_schema"):
        raise ValidationError(f"response formats of type {kind!r} are not supported", "Use text or json_schema.")
    match given:
        case {"json_schema": {"schema": dict(schema)}} | {"schema": dict(schema)}:
            return decode.schema(schema)
    if kind == "json_schema":
        raise ValidationError("a response format of type json_schema needs a schema", "Put it into json_schema.schema.")
    return {}


def arguments(text: str) -> Mapping[str, JsonValue]:
    """The arguments of a tool call. Raises ValidationError if they are not a JSON object."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"the arguments of a tool call are not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValidationError("the arguments of a tool call are not a JSON object")
    return value


def base64_of(url: str) -> str:
    """The base64 of a data URL. Raises ValidationError for other URLs: oprel downloads nothing for a request."""
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:") or not content:
        raise ValidationError("invalid image input", "Send the image itself: data:image/png;base64,…")
    return content
