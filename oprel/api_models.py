"""Wire types shared by server and client: Ollama's requests and responses, and oprel's extensions of them.

Those about the daemon itself are in `wire.daemon`.

Requests are as lenient as Ollama's: unknown keys are ignored, and null counts as absent, as does the zero value that
Go's clients send for a field that is not set. Responses can be read by
attribute or like a dict. This module imports nothing from oprel.

>>> reply = OllamaChatResponse(model="tiny", message=OllamaMessage(role="assistant", content="hi"), done=True)
>>> reply.message.content, reply["message"]["content"], "context" in reply, reply.get("context")
('hi', 'hi', False, None)
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class Wire(BaseModel):
    """A model with both attribute and dict access."""

    # defer_build: a client uses only a few of these types; building all would slow its start by 50 ms.
    model_config = ConfigDict(protected_namespaces=(), extra="ignore", defer_build=True)

    def __getitem__(self, key: str) -> Any:
        if key in self:
            return getattr(self, key)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        return key in self.model_fields_set or (isinstance(key, str) and self.get(key) is not None)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default) if key in type(self).model_fields else default


class RequestBody(Wire):
    """`read_elsewhere`: names of fields that a validator of the type moves into others."""

    # Fields under the names that older clients send. Clients in Go send both, and the one that they do not use as "".
    OLDER_NAMES: ClassVar[Mapping[str, str]] = {"name": "model", "quantization": "quantize"}
    read_elsewhere: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        present = {key: value for key, value in data.items() if value is not None}
        # Ollama's decoder ignores the case of keys.
        fields = {key if key in cls.model_fields else key.lower(): value for key, value in present.items()}
        for older, name in cls.OLDER_NAMES.items():
            if name in cls.model_fields and not fields.get(name) and fields.get(older):
                fields[name] = fields[older]
        return fields


# What the daemon reads itself, with Ollama's messages for what is wrong; described as what is right.
_TEXT, _OBJECT = {"type": "string"}, {"type": "object"}
_TOOL = {
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string", "minLength": 1}, "description": _TEXT, "parameters": _OBJECT},
            "required": ["name"],
        },
    },
    "required": ["function"],
}
# Seconds, or a duration like "5m".
KeepAlive = Annotated[JsonValue, Field(json_schema_extra={"anyOf": [{"type": "number"}, _TEXT]})]
AnswerFormat = Annotated[JsonValue, Field(json_schema_extra={"anyOf": [{"enum": ["", "json"]}, _OBJECT]})]
ToolDefinition = Annotated[dict[str, JsonValue], Field(json_schema_extra=_TOOL)]
ToolChoiceValue = Annotated[JsonValue, Field(json_schema_extra={"anyOf": [_TEXT, _OBJECT]})]
EmbedInput = Annotated[
    JsonValue, Field(json_schema_extra={"anyOf": [_TEXT, {"type": "array", "items": {"type": "string"}}]})
]


class ToolFunction(RequestBody):
    """`arguments` is an object, as in Ollama's API, not JSON text, as in OpenAI's."""

    name: str
    arguments: dict[str, JsonValue] = {}
    index: int | None = None


class OllamaToolCall(RequestBody):
    id: str | None = None
    function: ToolFunction


class OllamaMessage(RequestBody):
    role: str = ""
    content: str = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaLogprob(Wire):
    """A token's natural log probability; `bytes`: its UTF-8 encoding.

    `merged` (oprel's own): the engine reported only the last of several tokens. The entries of the others have it with
    a `logprob` of 0; where they could not be told apart, one entry with it stands for all.
    """

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[OllamaLogprob] | None" = None
    merged: bool | None = None


class ModelRequest(RequestBody):
    model: str = ""
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None


class CompletionFields(ModelRequest):
    """The fields that generate and chat share."""

    stream: bool = True
    format: AnswerFormat = None
    think: bool | str | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    truncate: bool = True
    shift: bool = True
    debug_render_only: bool = Field(False, alias="_debug_render_only")


class GenerateRequest(CompletionFields):
    prompt: str = ""
    system: str = ""
    raw: bool = False
    suffix: str = ""
    template: str = ""
    context: list[int] = []
    images: list[str] = []


class ChatRequest(CompletionFields):
    """`tool_choice` is oprel's extension, in OpenAI's format."""

    messages: list[OllamaMessage] = []
    tools: list[ToolDefinition] = []
    tool_choice: ToolChoiceValue = None


class EmbedRequest(ModelRequest):
    input: EmbedInput = None
    truncate: bool = True
    dimensions: int = 0
    input_type: str = ""  # oprel's own, like the next
    normalize: bool = True


class EmbeddingsRequest(ModelRequest):
    prompt: str = ""


class ShowRequest(RequestBody):
    model: str = ""
    system: str = ""
    verbose: bool = False
    options: dict[str, JsonValue] = {}


class CreateRequest(RequestBody):
    """`files` and `adapters` map relative file names to digests of uploaded blobs ("sha256:" and 64 hex digits)."""

    model: str = ""
    from_: str = Field("", alias="from")
    files: dict[str, str] = {}
    adapters: dict[str, str] = {}
    template: str | None = None
    system: str | None = None
    license: str | list[str] | None = None
    parameters: dict[str, JsonValue] = {}
    messages: list[OllamaMessage] = []
    quantize: str = ""
    stream: bool = True


class CopyRequest(RequestBody):
    source: str = ""
    destination: str = ""


class DeleteRequest(RequestBody):
    model: str = ""


# Ollama's message for a model that no source has. The first resolution step then holds oprel's own message.
NOT_TO_BE_PULLED = "pull model manifest: file does not exist"


class PullRequest(RequestBody):
    model: str = ""
    insecure: bool = False
    stream: bool = True


class ProgressResponse(Wire):
    """A line of `POST /api/create` or `/api/pull`; on success the last status is "success". Counts in bytes."""

    status: str = ""
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


class TokenizeRequest(ModelRequest):
    """oprel's `POST /api/tokenize`. `special`: parse control tokens in the text, and prepend a BOS token."""

    text: str = ""
    special: bool = False


class TokenizeResponse(Wire):
    model: str
    tokens: list[int]


class DetokenizeRequest(ModelRequest):
    """oprel's `POST /api/detokenize`."""

    tokens: list[int] = []


class DetokenizeResponse(Wire):
    model: str
    text: str


class LoadRequest(ModelRequest):
    """oprel's `POST /load`. `fetch`: download a model that is not installed; `stream`: each step on a line."""

    fetch: bool = True
    stream: bool = False


class UnloadRequest(RequestBody):
    """oprel's `POST /unload`."""

    model: str = ""


class ConversationRequest(CompletionFields):
    """oprel's `POST /generate`: a prompt in a conversation that the daemon stores. `fetch` as for `POST /load`."""

    fetch: bool = True
    prompt: str = ""
    conversation_id: str | None = None
    system_prompt: str | None = None


class Truncated(Wire):
    """What was cut from an over-long prompt: whole messages, and tokens from the middle of the last one.

    `shifted`: the answer outgrew the context, and the oldest tokens were dropped while it was generated.
    """

    messages: int = 0
    tokens: int = 0
    shifted: bool = False


class AnswerMetrics(Wire):
    """The metrics in the last object of an answer. Durations in nanoseconds, counts in tokens; absent when zero.

    Four are oprel's own: `truncated`, also the header `X-Oprel-Truncated`; `recoveries`, engine crashes; `ended_by`,
    what cut it short: "num_predict", "context" or "runaway_guard"; `unparsed`, why it is sent as the model wrote it.
    """

    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_cached_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    truncated: Truncated | None = None
    recoveries: int | None = None
    ended_by: str | None = None
    unparsed: str | None = None
    logprobs: list[OllamaLogprob] | None = None


class DebugInfo(Wire):
    """The prompt as sent to the model."""

    rendered_template: str
    image_count: int = 0


class GenerateResponse(AnswerMetrics):
    """An answer to a prompt, or a piece of one. `base_model` (oprel's own): it continues the prompt as it was."""

    model: str
    created_at: str | None = None
    response: str = ""
    thinking: str | None = None
    done: bool = False
    context: list[int] | None = None
    base_model: bool | None = None
    debug_info: DebugInfo | None = Field(
        default=None, serialization_alias="_debug_info", validation_alias="_debug_info"
    )


class OllamaChatResponse(AnswerMetrics):
    model: str
    created_at: str | None = None
    message: OllamaMessage
    done: bool = False
    debug_info: DebugInfo | None = Field(
        default=None, serialization_alias="_debug_info", validation_alias="_debug_info"
    )


class ConversationResponse(GenerateResponse):
    """`remembered` is false if the answer is complete but could not be stored, and otherwise absent."""

    conversation_id: str | None = None
    remembered: bool | None = None


class EmbedResponse(Wire):
    """One L2-normalised vector per input, in order."""

    model: str
    embeddings: Sequence[Sequence[float]] = []
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None


class EmbeddingsResponse(Wire):
    """A single vector."""

    embedding: Sequence[float] = []


class ModelDetails(Wire):
    parent_model: str = ""
    format: str = ""
    family: str = ""
    families: list[str] | None = None
    parameter_size: str = ""
    quantization_level: str = ""
    context_length: int | None = None
    embedding_length: int | None = None


class ListedModel(Wire):
    name: str
    model: str
    modified_at: str
    size: int = Field(description="bytes")
    digest: str
    details: ModelDetails
    capabilities: list[str] = []
    source: str | None = Field(
        None, description="oprel's own: where it was downloaded from, or which program stores it"
    )
    away: str | None = Field(default=None, description="oprel's own: the folder of its files that is missing or empty")
    aliases: list[str] | None = Field(default=None, description="oprel's own: its other names, such as earlier ones")


class OllamaListResponse(Wire):
    models: list[ListedModel]


class RunningModel(Wire):
    name: str
    model: str
    size: int = Field(description="bytes")
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int = Field(description="bytes")
    context_length: int


class OllamaProcessResponse(Wire):
    models: list[RunningModel]


class OllamaShowResponse(Wire):
    """`notes`, `parameter_sources` and `plan` are oprel's own: remarks about the model, where each parameter comes from
    ("Modelfile", "file" or "family NAME"), and how it would run now, a `oprel.wire.daemon.PlanResponse`.
    """

    modelfile: str
    parameters: str | None = None
    template: str | None = None
    system: str | None = None
    license: str | None = None
    details: ModelDetails
    messages: list[OllamaMessage] | None = None
    model_info: dict[str, JsonValue]
    projector_info: dict[str, JsonValue] | None = None
    tensors: list[dict[str, JsonValue]] | None = None
    capabilities: list[str]
    modified_at: str
    notes: list[str] | None = None
    parameter_sources: dict[str, str] | None = None
    plan: dict[str, JsonValue] | None = None


class VersionResponse(Wire):
    """`version` is the release of Ollama whose API the daemon speaks; `oprel` is the daemon's own version."""

    version: str
    oprel: str | None = None


class CloudStatus(Wire):
    disabled: bool = True
    source: str = "config"


class CloudStatusResponse(Wire):
    """Ollama's `GET /api/status`: oprel has no cloud."""

    cloud: CloudStatus = Field(default_factory=CloudStatus)  # built on first use, as its type is


class LoadResponse(Wire):
    """The `state` is "ready", or "fetching" in steps of a download, whose other fields are those of a pull."""

    model: str
    state: str
    load_duration: int | None = None
    status: str | None = None
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


class UnloadResponse(Wire):
    """`in_flight`: answers still running; the model is unloaded after the last one."""

    model: str
    unloaded: bool
    in_flight: int = 0


class ErrorDetail(Wire):
    """The error of oprel's own routes; Ollama's routes send `{"error": "text"}`."""

    type: str
    message: str
    details: dict[str, JsonValue] = {}
    resolution_steps: list[str] = []


class ErrorResponse(Wire):
    error: ErrorDetail
