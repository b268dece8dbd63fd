"""Answers of OpenAI's API, as its description has them. `encode` writes them without these types, for speed.

`ended_by`, `unparsed`, `recoveries` and `truncated` are oprel's own: see `api_models.AnswerMetrics`.
"""

from typing import Literal

from oprel.api_models import Truncated, Wire
from oprel.server.api.openai.types import FunctionCall, RerankDocument

FinishReason = Literal["stop", "length", "tool_calls"]


class CachedTokens(Wire):
    cached_tokens: int


class OpenAIUsage(Wire):
    """Counts in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class AnswerNotes(Wire):
    """What oprel adds to an answer if it applies."""

    truncated: Truncated | None = None
    recoveries: int | None = None
    ended_by: str | None = None
    unparsed: str | None = None


class TokenChoice(Wire):
    """A token's natural log probability; `bytes`: its UTF-8 encoding; `merged`: see Ollama's API."""

    token: str
    logprob: float
    bytes: list[int] | None
    merged: bool | None = None


class ChosenToken(TokenChoice):
    top_logprobs: list[TokenChoice]


class ChatLogprobs(Wire):
    content: list[ChosenToken]


class MadeToolCall(Wire):
    """`arguments` of the function are JSON text."""

    id: str
    index: int
    type: Literal["function"]
    function: FunctionCall


class ChatAnswer(Wire):
    """`reasoning` has the model's thoughts."""

    role: Literal["assistant"]
    content: str
    reasoning: str | None = None
    tool_calls: list[MadeToolCall] | None = None


class ChatChoice(Wire):
    index: int
    message: ChatAnswer
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(AnswerNotes):
    """`created` is in seconds since 1970."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: OpenAIUsage


class ToolCallPiece(Wire):
    """A piece of a call: the first has its id and its name, the others add to the JSON of its arguments."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionCall


class ChatDelta(Wire):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallPiece] | None = None


class ChatChoicePiece(Wire):
    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None
    logprobs: ChatLogprobs | None = None


class ChatCompletionChunk(AnswerNotes):
    """`usage` is in a piece of its own, if `stream_options.include_usage` asks for it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoicePiece]
    usage: OpenAIUsage | None = None


class TextLogprobs(Wire):
    """OpenAI's older form: one entry for each token in every list."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    merged: list[bool] | None = None


class TextChoice(Wire):
    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextCompletion(AnswerNotes):
    """A whole answer, or a piece of it."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: OpenAIUsage | None = None


class PromptUsage(Wire):
    """Counts in tokens."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbedding(Wire):
    """A list of numbers, or base64 of little-endian 32-bit floats."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Wire):
    object: Literal["list"]
    model: str
    data: list[OpenAIEmbedding]
    usage: PromptUsage


class RerankResult(Wire):
    """`index` is the document's place in the request; `document` is there if the request asks for it."""

    index: int
    relevance_score: float
    document: RerankDocument | None = None


class RerankList(Wire):
    """The best document first."""

    object: Literal["list"]
    model: str
    results: list[RerankResult]
    usage: PromptUsage


class OpenAIModel(Wire):
    """`created` is in seconds since 1970."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class OpenAIModelList(Wire):
    object: Literal["list"]
    data: list[OpenAIModel]
