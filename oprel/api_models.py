"""Wire types, shared by server and client: Ollama's requests and answers, and oprel's of the same kind.

What tells about the daemon itself is in `wire.daemon`.

Requests are lenient as Ollama's are: unknown keys are ignored and null counts as absent. Answers can be read as
attributes or like a dict. Imports nothing of oprel.

>>> reply = OllamaChatResponse(model="tiny", message=OllamaMessage(role="assistant", content="hi"), done=True)
>>> reply.message.content, reply["message"]["content"], "context" in reply, reply.get("context")
('hi', 'hi', False, None)
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator


class Wire(BaseModel):
    """Attribute and dict access in one."""

    # defer_build: a client uses three of these types, and the others would cost its start 50 ms.
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
    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        present = {key: value for key, value in data.items() if value is not None}
        # Ollama's decoder matches keys whatever their case, and its older clients call the model `name`.
        known = {key if key in cls.model_fields else key.lower(): value for key, value in present.items()}
        if "model" in cls.model_fields and "model" not in known and "name" in known:
            known["model"] = known["name"]
        return known


KeepAlive = JsonValue  # seconds, or a duration like "5m": the daemon complains of any other type in Ollama's words


class ToolFunction(RequestBody):
    """`arguments` are an object, in Ollama's form, and not its JSON text, as in OpenAI's."""

    name: str
    arguments: dict[str, JsonValue] = {}
    index: int | None = None


class OllamaToolCall(RequestBody):
    Function: ClassVar = ToolFunction  # as Ollama's client calls it

    id: str | None = None
    function: ToolFunction


class OllamaMessage(RequestBody):
    role: str
    content: str = ""
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaLogprob(Wire):
    """A token's natural log probability; `bytes` are its UTF-8."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: "list[OllamaLogprob] | None" = None


class ModelRequest(RequestBody):
    model: str = ""
    options: dict[str, JsonValue] = {}
    keep_alive: KeepAlive | None = None


class CompletionFields(ModelRequest):
    """What generate and chat share."""

    stream: bool = True
    format: JsonValue = None
    think: bool | str | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    truncate: bool = True
    shift: bool = True
    debug_render_only: bool = Field(False, alias="_debug_render_only")


class GenerateRequest(CompletionFields):
    prompt: str = ""
    system: str | None = None
    raw: bool = False
    suffix: str = ""
    template: str = ""
    context: list[int] = []
    images: list[str] = []


class ChatRequest(CompletionFields):
    """`tool_choice` is an extension of oprel, in OpenAI's form."""

    messages: list[OllamaMessage] = []
    tools: list[dict[str, JsonValue]] = []
    tool_choice: JsonValue = None


class EmbedRequest(ModelRequest):
    input: JsonValue = None
    truncate: bool = True
    dimensions: int = 0


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


# What Ollama says of a model that nobody has. The first step then says it in our own words.
NOT_TO_BE_PULLED = "pull model manifest: file does not exist"


class PullRequest(RequestBody):
    model: str = ""
    insecure: bool = False
    stream: bool = True


class ProgressResponse(Wire):
    """A line of `POST /api/create` or `/api/pull`; the last one of a success says "success". Counts in bytes."""

    status: str = ""
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


class TokenizeRequest(ModelRequest):
    """oprel's `POST /api/tokenize`. `special`: control tokens in the text count as such, and a BOS goes in front."""

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
    """oprel's `POST /load`."""


class UnloadRequest(RequestBody):
    """oprel's `POST /unload`."""

    model: str = ""


class ConversationRequest(CompletionFields):
    """oprel's `POST /generate`: a prompt within a conversation that the daemon remembers."""

    prompt: str = ""
    conversation_id: str | None = None
    system_prompt: str | None = None


class Truncated(Wire):
    """What of an over-long prompt the model did not see: whole messages, and tokens of the last one's middle.

    `shifted`: the answer outgrew the context, and the oldest tokens were forgotten while it was made.
    """

    messages: int = 0
    tokens: int = 0
    shifted: bool = False


class AnswerMetrics(Wire):
    """Of the last object of an answer. Durations in nanoseconds, counts in tokens; absent when zero.

    `truncated` is oprel's own: Ollama cuts silently. The header `X-Oprel-Truncated` says the same. So is `recoveries`,
    the number of engines that died while they made the answer.
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
    logprobs: list[OllamaLogprob] | None = None


class DebugInfo(Wire):
    """The prompt as the model would get it."""

    rendered_template: str
    image_count: int = 0


class GenerateResponse(AnswerMetrics):
    """An answer to a prompt, or a piece of one."""

    model: str
    created_at: str | None = None
    response: str = ""
    thinking: str | None = None
    done: bool = False
    context: list[int] | None = None
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
    """`remembered` is false when the answer is whole but could not be written down, and else absent."""

    conversation_id: str | None = None
    remembered: bool | None = None


class EmbedResponse(Wire):
    """One L2-normalised vector an input, in order."""

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
    source: str | None = Field(None, description="oprel's own: where it was fetched from, or who keeps it")


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
    """`notes` and `plan` are oprel's own: what of the model is not followed, and how it would be run now.

    The plan is that of `oprel.wire.daemon.PlanResponse`.
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
    plan: dict[str, JsonValue] | None = None


class VersionResponse(Wire):
    version: str


class CloudStatus(Wire):
    disabled: bool = True
    source: str = "config"


class CloudStatusResponse(Wire):
    """Ollama's `GET /api/status`: oprel knows no cloud."""

    cloud: CloudStatus = Field(default_factory=CloudStatus)  # made when used, as its type is


class LoadResponse(Wire):
    model: str
    state: str
    load_duration: int | None = None


class UnloadResponse(Wire):
    """`in_flight` answers are still being made; the model goes with the last of them."""

    model: str
    unloaded: bool
    in_flight: int = 0


class ErrorDetail(Wire):
    """Of oprel's own routes; Ollama's send `{"error": "text"}`."""

    type: str
    message: str
    details: dict[str, JsonValue] = {}
    resolution_steps: list[str] = []


class ErrorResponse(Wire):
    error: ErrorDetail
