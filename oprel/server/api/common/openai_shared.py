"""What OpenAI's two APIs share: fields of requests, reasoning efforts, arguments of tool calls, images."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import orjson
from pydantic import Field, JsonValue, model_validator

from oprel.api_models import KeepAlive, RequestBody
from oprel.core.completion import LoadOptions, Sampling
from oprel.core.exceptions import ValidationError
from oprel.core.models.modelfile import Parameter
from oprel.core.request_options import ALL_NAMES
from oprel.formats.templates.thinking import RANKS
from oprel.server.api.common import decode
from oprel.server.models.installed_model import InstalledModel
from oprel.utils.json.cut_json import closed_object

# OpenAI's defaults, below the model's own parameters.
DEFAULTS: Mapping[str, JsonValue] = {"temperature": 1.0, "top_p": 1.0}
OPTION_NAMES = {**ALL_NAMES, "repetition_penalty": "repeat_penalty"}  # the last is vLLM's
THINKING_VARIABLES = ("enable_thinking", "thinking")  # of chat templates
SYSTEM_ROLES = ("system", "developer")

MOST_BIASES = 5000  # llama.cpp (b11549) takes a minute for 100,000: each is compared with all


class StreamOptions(RequestBody):
    include_usage: bool = False


class Reasoning(RequestBody):
    """OpenAI's effort, and OpenRouter's switch."""

    effort: str | None = None
    enabled: bool | None = None


class ThinkingSwitch(RequestBody):
    """Anthropic's and DeepSeek's: "enabled" or "disabled"; other types leave it to the model."""

    type: str = ""


class SamplingFields(RequestBody):
    """The fields that all completion requests share.

    Options that OpenAI lacks may stand beside its own, under the names of Ollama, llama.cpp or vLLM. Thinking has a
    switch in each of the dialects that clients come from: Ollama's, OpenAI's, OpenRouter's, DeepSeek's, Qwen's, vLLM's.
    """

    read_elsewhere: ClassVar[frozenset[str]] = frozenset(OPTION_NAMES)

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
    logit_bias: Annotated[dict[str, float], Field(max_length=MOST_BIASES)] | None = None
    n: int = 1
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None
    truncate: bool = False
    think: bool | str | None = None
    thinking: ThinkingSwitch = ThinkingSwitch()
    enable_thinking: bool | None = None
    reasoning: Reasoning = Reasoning()
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, JsonValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_options(cls, data: object) -> object:
        """Move options that stand beside OpenAI's fields into `options`, which win."""
        if not isinstance(data, dict):
            return data
        named = {OPTION_NAMES[name]: name for name in data if name in OPTION_NAMES and name not in cls.model_fields}
        given = data.get("options") or {}
        if not named or not isinstance(given, dict):
            return data
        return {**data, "options": {**{option: data[name] for option, name in named.items()}, **given}}


def options(body: SamplingFields, own: Mapping[str, Parameter], limit: int | None) -> tuple[Sampling, LoadOptions]:
    """OpenAI's defaults < the model's parameters < `options` < OpenAI's fields. `limit` in tokens."""
    fields = ("temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty")
    given: dict[str, JsonValue] = {name: getattr(body, name) for name in fields} | {"num_predict": limit}
    present = {name: value for name, value in given.items() if value is not None}
    return decode.options({**body.options, **present}, {**DEFAULTS, **own})


def think(body: SamplingFields) -> bool | str | None:
    """`think`, by whichever switches are set: off wins over a level, a level over on. Raises ValidationError."""
    switches = [*_switches(body).values()]
    if False in switches:
        return False
    levels = [switch for switch in switches if isinstance(switch, str)]
    return levels[0] if levels else (True in switches or None)


def _switches(body: SamplingFields) -> dict[str, bool | str | None]:
    """What each field that is set says of thinking, by its path."""
    variables = body.chat_template_kwargs
    switches = {
        "think": body.think,
        "reasoning_effort": _think_by_effort(body.reasoning_effort),
        "reasoning.effort": None if body.reasoning_effort else _think_by_effort(body.reasoning.effort),
        "reasoning.enabled": body.reasoning.enabled,
        "thinking": {"enabled": True, "disabled": False}.get(body.thinking.type),
        "enable_thinking": body.enable_thinking,
        **{
            f"chat_template_kwargs.{name}": value
            for name, value in variables.items()
            if name in THINKING_VARIABLES and isinstance(value, bool)
        },
    }
    return {name: value for name, value in switches.items() if value is not None}


def unheeded_thinking(body: SamplingFields, model: InstalledModel) -> list[str]:
    """The fields that say of thinking what the model cannot do."""
    wanted = think(body)
    if not decode.unheeded(wanted, model):
        return []
    return [name for name, value in _switches(body).items() if value == wanted]


def think_for(body: SamplingFields, model: InstalledModel) -> bool | str | None:
    """`think` for the engine. Raises UnsupportedError for a model that cannot think, except for a template's variable.

    A variable reaches the template whatever the model is: clients send it to all of them.
    """
    wanted = think(body)
    can_think = "thinking" in model.capabilities
    if wanted and not can_think and not think(body.model_copy(update={"chat_template_kwargs": {}})):
        return None
    return decode.think(wanted, model, body.model, RANKS)


def _think_by_effort(effort: str | None) -> bool | str | None:
    """Raises ValidationError for an unknown effort."""
    if not effort:
        return None
    if effort == "none":
        return False
    if effort not in RANKS:
        raise ValidationError(f"invalid reasoning effort: {effort!r}", f"One of: none, {', '.join(RANKS)}.")
    return effort


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
    """The arguments of a tool call; where its answer was cut off, as far as they came. Raises ValidationError."""
    try:
        value = orjson.loads(text.strip() or "{}")
    except orjson.JSONDecodeError:
        return closed_object(text)
    if not isinstance(value, dict):
        raise ValidationError("the arguments of a tool call are not a JSON object")
    return value


def base64_of(url: str) -> str:
    """The base64 of a data URL. Raises ValidationError for other URLs: oprel downloads nothing for a request."""
    head, _, content = url.partition(";base64,")
    if not head.startswith("data:") or not content:
        raise ValidationError("invalid image input", "Send the image itself: data:image/png;base64,…")
    return content
