"""From the bytes of a request to jobs and their parts. Invalid requests are rejected here."""

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import TypeVar

import anyio.to_thread
import pydantic
from pydantic import JsonValue
from starlette.requests import Request

from oprel import api_models as wire
from oprel.core.completion import CompletionRequest, LoadOptions, Prompt, PromptMessage, Sampling, Tokens, ToolCall
from oprel.core.exceptions import InvalidModelError, ModelNotFoundError, UnsupportedError, ValidationError
from oprel.core.names import ModelRef, NameKind, is_path
from oprel.core.request_options import LARGEST_INTEGER, OPTIONS, OptionValue, value_of
from oprel.server.access.identify import caller_of
from oprel.server.access.record import note_model
from oprel.server.api.common import ignored
from oprel.server.api.common.app_state import state_of
from oprel.server.api.request_content import DECODING, content_of, json_value
from oprel.server.api.visible_models import is_visible
from oprel.server.inference.jobs import Job
from oprel.server.inference.structured_output.checks import check_schema, check_size
from oprel.server.inference.structured_output.drafts import modern
from oprel.server.inference.structured_output.tools import function_tools
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.library import named
from oprel.server.pool.loaded_model import served_by
from oprel.utils.text import parse_duration

Body = TypeVar("Body", bound=wire.RequestBody)
Result = TypeVar("Result")
Options = dict[str, JsonValue]

MOST_THREADS = 512
QUICK_BYTES = 64 * 1024  # of a body that is read at once
SLOW_WORDS = (b"pattern", b'"properties"')  # of schemas, which are checked
TAKES_LONG = "oprel.takes_long"  # the key, in a request's ASGI scope, of whether others would wait for its decoding
OLLAMA_LEVELS = ("high", "medium", "low", "max")  # of `think`


async def parse_body(request: Request, kind: type[Body]) -> Body:
    """The request's JSON, whatever its content type; bytes after the first JSON value are ignored."""
    content = await content_of(request)
    request.scope[TAKES_LONG] = len(content) > QUICK_BYTES or any(word in content for word in SLOW_WORDS)
    body, unread = await apart(request, lambda: _parsed(content, kind))
    ignored.ignore(request, unread)
    return body


def _parsed(content: bytes, kind: type[Body]) -> tuple[Body, Sequence[str]]:
    """The body, and the names of what it ignores."""
    value = json_value(content)
    try:
        body = kind.model_validate(value)
    except pydantic.ValidationError as error:
        raise ValidationError(_complaint(error)) from error
    assert isinstance(value, dict)
    ignored.refuse_media(value, kind)
    return body, [*ignored.unread(value, kind)]


async def apart(request: Request, decode: Callable[[], Result]) -> Result:
    """What `decode` makes of a request whose body was parsed; in a worker thread if that takes long.

    One at a time: threads take turns with the event loop, so that more of them would slow it down.
    """
    if not request.scope.get(TAKES_LONG):
        return decode()
    return await anyio.to_thread.run_sync(decode, limiter=request.scope.get(DECODING))


def is_own_user(request: Request) -> bool:
    """True for the daemon's own user, and for keys that make one its equal."""
    return caller_of(request).is_admin


def required(name: str) -> str:
    """The name of a model, in a request that must have one. Raises ValidationError."""
    if not name:
        raise ValidationError("model is required")
    return name


def model_name(text: str, complaint: str) -> ModelRef:
    """A model's name that is not a path. Raises ValidationError with the message `complaint`."""
    try:
        ref = ModelRef.parse(text)
    except ValidationError as error:
        raise ValidationError(complaint, *error.resolution_steps) from None
    if ref.kind is NameKind.PATH:
        raise ValidationError(complaint, "A name looks like model, model:tag or user/model:tag.")
    return ref


async def model(request: Request, name: str) -> InstalledModel:
    """The model that a request names. Raises ModelNotFoundError or InvalidModelError.

    A model that the caller's key is not for looks like one that does not exist.
    """
    note_model(name)
    key = caller_of(request).key
    unknown = ModelNotFoundError(f"model '{name}' not found", "The key of this request is for some models only.")
    try:
        model = await state_of(request).library.find(name, may_use_paths=is_own_user(request))
    except (ModelNotFoundError, InvalidModelError):
        if key and not key.allows(name):
            raise unknown from None
        raise
    note_model(model.name)
    if key and not key.allows(model.name):
        raise unknown
    return model


async def model_to_unload(request: Request, name: str) -> InstalledModel:
    """The same, or the one that an engine was loaded with under that name: its files may be gone by now."""
    try:
        return await model(request, name)
    except (ModelNotFoundError, InvalidModelError):
        loaded = named(name, served_by(state_of(request).manager.loaded))
        hidden = is_path(name) and not is_own_user(request)
        if loaded is None or hidden or not is_visible(request, [loaded.name]):
            raise
        return loaded


def job(
    body: wire.CompletionFields,
    model: InstalledModel,
    prompt: Prompt,
    *,
    tools: Sequence[Mapping[str, JsonValue]] = (),
    tool_choice: JsonValue = None,
    context: Sequence[int] | None = None,
) -> Job:
    """The job for a request of Ollama's API."""
    sampling, load = options(body.options, model.conventions.parameters)
    # After a `context` the prompt is sent as text, where thoughts look like a part of the answer.
    thinking = False if context and body.think is None else body.think
    request = CompletionRequest(
        prompt=prompt,
        sampling=sampling,
        schema=schema(body.format),
        think=think(thinking, model, body.model),
        tools=function_tools(tools),
        tool_choice=tool_choice,
        top_logprobs=top_logprobs(body.logprobs, body.top_logprobs),
        truncate=body.truncate,
        shift=body.shift,
    )
    return Job(
        model=model,
        request=request,
        load=load,
        keep_alive=keep_alive(body.keep_alive),
        context=None if context is None else tokens(context, model),
    )


def keep_alive(value: wire.KeepAlive | None) -> float | None:
    """Seconds, infinite for a negative value; None if it is not set."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValidationError(f"Unsupported type: {json.dumps(value)}", 'Write "5m" or a plain number of seconds.')
    try:
        seconds = parse_duration(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValidationError(str(error), 'Write "5m" or a plain number of seconds.') from error
    return seconds if seconds >= 0 else math.inf


def options(given: Options, own: Mapping[str, object]) -> tuple[Sampling, LoadOptions]:
    """Default < the model's parameters < the request's. Unknown ones are ignored: `parse_body` reports them."""
    values = {**_values(own), **_values(given)}
    if isinstance(threads := values.get("num_thread"), int):
        values["num_thread"] = min(threads, MOST_THREADS)  # with many more no engine can start
    return _build(Sampling, values), _build(LoadOptions, values)


def schema(value: JsonValue) -> Mapping[str, JsonValue] | None:
    """`format`: None for free text, {} for any JSON object, else the schema."""
    if value in (None, ""):
        return None
    if value == "json":
        return {}
    if isinstance(value, dict):
        check_size(value, "format")
        current = modern(value)
        check_schema(current)
        return current
    raise ValidationError(f'invalid format: {json.dumps(value)}; expected "json" or a valid JSON Schema object')


def think(
    value: bool | str | None, model: InstalledModel, name: str, levels: Collection[str] = OLLAMA_LEVELS
) -> bool | str | None:
    """`think` for the engine. Raises UnsupportedError for a model that cannot think."""
    if value == "":
        return None
    if isinstance(value, str) and value not in levels:
        raise ValidationError(
            f'invalid think value: "{value}" (must be "high", "medium", "low", "max", true, or false)'
        )
    if value and "thinking" not in model.capabilities:
        raise UnsupportedError(f'"{name}" does not support thinking')
    return value


def unheeded(value: bool | str | None, model: InstalledModel) -> bool:
    """Whether a thinking model cannot do this: not think at all, or think at a level."""
    return model.thinking is not None and not model.thinking.setting(None if value == "" else value).is_heeded


def top_logprobs(enabled: bool, alternatives: int) -> int | None:
    """How many alternatives to report for each token; None for no logprobs."""
    if not 0 <= alternatives <= 20:
        raise ValidationError("top_logprobs must be between 0 and 20")
    return alternatives if enabled else None


def with_system(system: str, messages: Sequence[PromptMessage], model: InstalledModel) -> tuple[PromptMessage, ...]:
    """The messages after the model's own; the request's system message replaces the model's."""
    own = [PromptMessage(role, text) for role, text in model.manifest.messages]
    if messages and messages[0].role == "system":
        return (messages[0], *own, *messages[1:])
    text = system or model.manifest.system
    return (*([PromptMessage("system", text)] if text else []), *own, *messages)


def prompt_of(text: str, system: str, model: InstalledModel) -> Prompt:
    """A user's message after those of the model; for a base model, the text to continue."""
    if model.is_base and not model.manifest.messages:
        return continued(text, system or model.manifest.system)
    return with_system(system, (PromptMessage("user", text),), model)


def continued(text: str, system: str) -> str:
    """The text that a base model continues."""
    return f"{system}\n\n{text}" if system else text


def messages(given: Sequence[wire.OllamaMessage]) -> list[PromptMessage]:
    """The messages, with an ID for every tool call: clients of Ollama omit them, and some templates need them."""
    return linked([_message(message, f"call_{number}") for number, message in enumerate(given)])


def linked(messages: Sequence[PromptMessage]) -> list[PromptMessage]:
    """Give tool results without the ID of their call that of the oldest unanswered call of the same tool, or of any."""
    unanswered: list[ToolCall] = []
    complete = []
    for message in messages:
        unanswered += message.tool_calls
        if message.role == "tool" and unanswered:
            same_id = [call for call in unanswered if call.id == message.tool_call_id]
            same_tool = [call for call in unanswered if call.name == message.tool_name]
            call = (same_id or same_tool or unanswered)[0]
            unanswered.remove(call)
            message = replace(
                message,
                tool_call_id=message.tool_call_id or call.id,
                tool_name=message.tool_name or call.name,
            )
        complete.append(message)
    return complete


def _message(given: wire.OllamaMessage, prefix: str) -> PromptMessage:
    calls = tuple(
        ToolCall(call.id or f"{prefix}_{number}", call.function.name, call.function.arguments)
        for number, call in enumerate(given.tool_calls or ())
    )
    return PromptMessage(
        role=given.role.lower() or "user",
        content=given.content,
        thinking=given.thinking or "",
        tool_calls=calls,
        tool_call_id=given.tool_call_id or "",
        tool_name=given.tool_name or "",
        images=images(given.images or ()),
    )


def images(given: Sequence[str]) -> tuple[str, ...]:
    """Images as base64. Raises ValidationError for anything else."""
    for image in given:
        try:
            base64.b64decode(image, validate=True)
        except ValueError as error:
            raise ValidationError(f"an image is not base64: {error}", 'Send it without any "data:" prefix.') from error
    return tuple(given)


def tokens(given: Sequence[int], model: InstalledModel) -> tuple[int, ...]:
    """Tokens of the model. Raises ValidationError for others: what an engine does with them is undefined."""
    size = model.vocabulary_size or LARGEST_INTEGER
    for token in given:
        if not 0 <= token < size:
            raise ValidationError(f"{token} is not a token of the model, which has {size}")
    return tuple(given)


def fill_in_the_middle(prompt: str, suffix: str, model: InstalledModel) -> Tokens:
    """The prompt that asks for the text between `prompt` and `suffix`. Raises UnsupportedError."""
    if model.fim_tokens is None:
        raise UnsupportedError(f"{model.name} does not support insert", "Leave `suffix` out, or use a code model.")
    before, after, middle = model.fim_tokens
    return Tokens((before, prompt, after, suffix, middle))


def refuse_unsupported(model: InstalledModel, name: str, verb: str, *, images: bool) -> None:
    """Raises UnsupportedError for what the model cannot do. `name` is the model's name in the request."""
    if model.embeds_only:
        use = "POST /v1/rerank" if model.reranks else "POST /api/embed, or oprel.embed()"
        raise UnsupportedError(f'"{name}" does not support {verb}', f"Use {use}.")
    if images and "vision" not in model.capabilities:
        raise UnsupportedError(f'"{name}" does not support images', "Use a vision model: one made with its projector.")


def _values(given: Mapping[str, object]) -> dict[str, OptionValue]:
    """The options that are set. Raises ValidationError."""
    decoded = {
        name: value_of(OPTIONS[name], value) for name, value in given.items() if value is not None and name in OPTIONS
    }
    return {name: value for name, value in decoded.items() if value is not None}


Kind = TypeVar("Kind", Sampling, LoadOptions)


def _build(kind: type[Kind], values: Mapping[str, OptionValue]) -> Kind:
    names = {entry.name for entry in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in names})  # type: ignore[arg-type]


def _complaint(error: pydantic.ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"][:5])
    return f"{where}: {first['msg'].lower()}" if where else f"the request must be a JSON object: {first['msg'].lower()}"
