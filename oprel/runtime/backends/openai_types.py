"""What engines send, as far as oprel reads it."""

from pydantic import BaseModel


class EngineFunction(BaseModel):
    name: str | None = None
    arguments: str = ""


class EngineToolCall(BaseModel):
    index: int = 0
    id: str | None = None
    function: EngineFunction = EngineFunction()


class Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[EngineToolCall] | None = None


class EngineLogprob(BaseModel):
    id: int = -1
    token: str
    logprob: float = 0.0  # missing if the request is for probabilities after sampling
    bytes: list[int] | None = None
    top_logprobs: list["EngineLogprob"] = []


class EngineLogprobs(BaseModel):
    content: list[EngineLogprob] | None = None


class Choice(BaseModel):
    index: int = 0
    delta: Delta = Delta()
    text: str = ""
    finish_reason: str | None = None
    logprobs: EngineLogprobs | None = None


class EngineTokenDetails(BaseModel):
    cached_tokens: int = 0


class EngineUsage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: EngineTokenDetails | None = None


class Timings(BaseModel):
    """Timings of llama-server; vLLM sends none."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    predicted_n: int = 0


class PrefillProgress(BaseModel):
    """From llama-server: how many of a prompt's tokens are in the KV cache, those of earlier prompts included."""

    total: int
    processed: int


class Error(BaseModel):
    code: int | str | None = None
    type: str | None = None
    message: str = "the engine gave no reason"
    n_prompt_tokens: int = 0


class Event(BaseModel):
    choices: list[Choice] = []
    usage: EngineUsage | None = None
    timings: Timings | None = None
    prompt_progress: PrefillProgress | None = None
    error: Error | None = None


class Vector(BaseModel):
    index: int
    embedding: list[float]


class Vectors(BaseModel):
    data: list[Vector]
    usage: EngineUsage


class Score(BaseModel):
    index: int
    relevance_score: float


class EngineScores(BaseModel):
    results: list[Score]
    usage: EngineUsage = EngineUsage()


class TokenList(BaseModel):
    tokens: list[int]


class TokenPiece(BaseModel):
    """A token and what it spells: bytes where that is not valid UTF-8."""

    id: int
    piece: str | list[int]


class TokenPieces(BaseModel):
    tokens: list[TokenPiece]


class Content(BaseModel):
    content: str


class Rendered(BaseModel):
    prompt: str
