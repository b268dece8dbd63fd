"""What llama-server and vLLM send, as far as it is read here."""

from pydantic import BaseModel


class Function(BaseModel):
    name: str | None = None
    arguments: str = ""


class ToolCall(BaseModel):
    index: int = 0
    id: str | None = None
    function: Function = Function()


class Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Logprob(BaseModel):
    id: int = -1
    token: str
    logprob: float = 0.0  # absent where probabilities after sampling were asked for
    bytes: list[int] | None = None
    top_logprobs: list["Logprob"] = []


class Logprobs(BaseModel):
    content: list[Logprob] | None = None


class Choice(BaseModel):
    index: int = 0
    delta: Delta = Delta()
    text: str = ""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Details(BaseModel):
    cached_tokens: int = 0


class Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Details | None = None


class Timings(BaseModel):
    """llama-server's own; vLLM sends none."""

    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    predicted_n: int = 0


class Progress(BaseModel):
    """llama-server's: how many of a prompt's tokens are in the KV cache, those of earlier prompts included."""

    total: int
    processed: int


class Error(BaseModel):
    code: int | str | None = None
    type: str | None = None
    message: str = "the engine gave no reason"
    n_prompt_tokens: int = 0


class Event(BaseModel):
    choices: list[Choice] = []
    usage: Usage | None = None
    timings: Timings | None = None
    prompt_progress: Progress | None = None
    error: Error | None = None


class Vector(BaseModel):
    index: int
    embedding: list[float]


class Vectors(BaseModel):
    data: list[Vector]
    usage: Usage


class Score(BaseModel):
    index: int
    relevance_score: float


class Scores(BaseModel):
    results: list[Score]
    usage: Usage = Usage()


class TokenList(BaseModel):
    tokens: list[int]


class Content(BaseModel):
    content: str


class Rendered(BaseModel):
    prompt: str
