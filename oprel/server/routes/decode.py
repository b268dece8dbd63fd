"""From the bytes of a request to what the daemon works with; every complaint about them is made here."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

import orjson
import pydantic
from pydantic import JsonValue
from starlette.requests import Request

from oprel import api_models as wire
from oprel.core.exceptions import UnsupportedError, ValidationError
from oprel.core.manifests import Manifest
from oprel.runtime.backends.base import CompletionRequest, LoadOptions, Message, Sampling, ToolCall
from oprel.server.completions import Job
from oprel.server.guard import is_loopback
from oprel.server.library import InstalledModel
from oprel.server.state import daemon_of
from oprel.utils.text import parse_duration

logger = logging.getLogger(__name__)

Body = TypeVar("Body", bound=wire.Request)
Options = dict[str, JsonValue]
OptionValue = bool | int | float | tuple[str, ...]

INTEGERS = {
    *("top_k", "repeat_last_n", "seed", "num_predict", "num_keep"),
    *("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread"),
}
BOOLEANS = {"use_mmap"}
LEAST = {"num_ctx": 4, "num_batch": 1}
LARGEST = 2**53  # what JSON numbers hold exactly everywhere


async def body(request: Request, kind: type[Body]) -> Body:
    """The request's JSON, whatever content type it claims; bytes after the first JSON value are ignored."""
    content = (await request.body()).strip()
    if not content:
        raise ValidationError("missing request body")
    try:
        value, _ = json.JSONDecoder().raw_decode(content.decode(errors="surrogateescape"))
        orjson.dumps(value)  # half a character or a number beyond 64 bits could not be passed on to an engine
    except (ValueError, RecursionError, TypeError) as error:
        raise ValidationError(f"the request body is not valid JSON: {error}") from error
    try:
        return kind.model_validate(value)
    except pydantic.ValidationError as error:
        raise ValidationError(_complaint(error)) from error


def is_own_user(request: Request) -> bool:
    """True for a caller of this machine that is no web page: local socket, or loopback without an Origin."""
    local = request.client is None or is_loopback(request.client.host)
    return local and "origin" not in request.headers


def required(name: str) -> str:
    """The name of a model, where a request must have one."""
    if not name:
        raise ValidationError("model is required")
    return name


async def model(request: Request, name: str) -> InstalledModel:
    """The model that a request names. Raises ModelNotFoundError or InvalidModelError."""
    return await daemon_of(request).library.find(name, may_use_paths=is_own_user(request))


def job(
    asked: wire.CompletionFields,
    model: InstalledModel,
    prompt: str | tuple[Message, ...],
    *,
    tools: Sequence[Mapping[str, JsonValue]] = (),
    wants_context: bool = False,
) -> Job:
    """What to ask the engine for."""
    sampling, load = options(asked.options, model.manifest)
    request = CompletionRequest(
        prompt,
        sampling,
        schema(asked.format),
        think(asked.think, model, asked.model),
        tuple(tools),
        top_logprobs(asked),
    )
    return Job(model, request, load, keep_alive(asked.keep_alive), wants_context)


def keep_alive(value: wire.KeepAlive | None) -> float | None:
    """Seconds, infinite for a negative value; None when not given."""
    if value is None:
        return None
    try:
        seconds = parse_duration(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValidationError(str(error), 'Write "5m" or a plain number of seconds.') from error
    return seconds if seconds >= 0 else math.inf


def options(given: Options, manifest: Manifest) -> tuple[Sampling, LoadOptions]:
    """Default < the model's parameters < the request's. Unknown options are ignored, as old clients send many."""
    merged: dict[str, object] = {**manifest.parameters}
    merged |= {name: value for name, value in given.items() if value is not None}
    known = {entry.name for kind in (Sampling, LoadOptions) for entry in fields(kind)}
    if unknown := sorted(merged.keys() - known):
        logger.info("ignored unknown options: %s", ", ".join(unknown))
    values = {name: _option(name, value) for name, value in merged.items() if name in known}
    return _build(Sampling, values), _build(LoadOptions, values)


def schema(value: JsonValue) -> Mapping[str, JsonValue] | None:
    """`format`: None when free, {} for any JSON object, else the schema."""
    if value in (None, ""):
        return None
    if value == "json":
        return {}
    if isinstance(value, dict):
        return value
    raise ValidationError(f'invalid format: {json.dumps(value)}; expected "json" or a valid JSON Schema object')


def think(value: bool | str | None, model: InstalledModel, name: str) -> bool | str | None:
    """`think` as the engine takes it, once it is sure that the model can."""
    if isinstance(value, str) and value not in ("high", "medium", "low", "max"):
        raise ValidationError(
            f'invalid think value: "{value}" (must be "high", "medium", "low", "max", true, or false)'
        )
    if value and "thinking" not in model.capabilities:
        raise UnsupportedError(f'"{name}" does not support thinking')
    return value


def top_logprobs(asked: wire.CompletionFields) -> int | None:
    """How many alternatives to tell of each token; None when no logprobs are wanted."""
    if not 0 <= asked.top_logprobs <= 20:
        raise ValidationError("top_logprobs must be between 0 and 20")
    return asked.top_logprobs if asked.logprobs else None


def message(given: wire.Message) -> Message:
    if given.images:
        raise UnsupportedError("this version of oprel does not support `images`", "Leave `images` out.")
    calls = tuple(
        ToolCall(call.id or f"call_{number}", call.function.name, call.function.arguments)
        for number, call in enumerate(given.tool_calls or ())
    )
    name, answered = given.tool_name or "", given.tool_call_id or ""
    return Message(given.role.lower(), given.content, given.thinking or "", calls, answered, name)


def refuse_unsupported(request: wire.CompletionFields, model: InstalledModel, verb: str) -> None:
    """What the model cannot do, and what this version of oprel does not do, is refused rather than ignored."""
    if model.embeds_only:
        raise UnsupportedError(
            f'"{request.model}" does not support {verb}',
            "It makes embeddings only: `POST /api/embed` or oprel.embed().",
        )
    if getattr(request, "tools", None) and "tools" not in model.capabilities:
        raise UnsupportedError(f"{model.name} does not support tools")
    for name in ("images", "suffix", "template", "context"):
        if getattr(request, name, None):
            raise UnsupportedError(f"this version of oprel does not support `{name}`", f"Leave `{name}` out.")


def _option(name: str, value: object) -> OptionValue:
    if name == "stop":
        return _stop(value)
    if name in BOOLEANS:
        if isinstance(value, bool):
            return value
        raise ValidationError(f'option "{name}" must be of type boolean')
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError(f'option "{name}" must be of type {"integer" if name in INTEGERS else "float32"}')
    if not -LARGEST <= value <= LARGEST:  # infinities and NaN neither
        raise ValidationError(f'option "{name}" is out of range')
    if value < LEAST.get(name, value):
        raise ValidationError(f'option "{name}" must be at least {LEAST[name]}')
    return int(value) if name in INTEGERS else float(value)


def _stop(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return tuple(str(text) for text in texts)
    raise ValidationError('option "stop" must be of an array of strings')


Kind = TypeVar("Kind", Sampling, LoadOptions)


def _build(kind: type[Kind], values: Mapping[str, OptionValue]) -> Kind:
    names = {entry.name for entry in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})  # type: ignore[arg-type]


def _complaint(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"][:5])
    return f"{where}: {first['msg'].lower()}" if where else f"the request must be a JSON object: {first['msg'].lower()}"
