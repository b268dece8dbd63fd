"""What engines send, as far as oprel reads it.

Structs of msgspec, not pydantic's models: each token of an answer is an event, and msgspec reads it in a seventh of the
time. Numbers may be sent as text, as some engines do.
"""

from struct import unpack
from typing import TypeVar

import msgspec

from oprel.core.completion import Usage


class Struct(msgspec.Struct, gc=False):
    """Without a part in garbage collection: what engines send has no cycles."""


Sent = TypeVar("Sent")


def decoder(kind: type[Sent]) -> msgspec.json.Decoder[Sent]:
    """Reads one kind of message. Raises msgspec.MsgspecError for any other."""
    return msgspec.json.Decoder(kind, strict=False)


class EngineFunction(Struct):
    name: str | None = None
    arguments: str = ""


class EngineToolCall(Struct):
    index: int = 0
    id: str | None = None
    function: EngineFunction = msgspec.field(default_factory=EngineFunction)


class Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[EngineToolCall] | None = None
    role: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is a text or a thought, and nothing else."""
        return bool(self.content) != bool(self.reasoning_content) and not (self.tool_calls or self.role)


class EngineLogprob(Struct):
    token: str
    id: int = -1
    logprob: float = 0.0  # missing if the request is for probabilities after sampling
    bytes: list[int] | None = None
    top_logprobs: list["EngineLogprob"] = []


class EngineLogprobs(Struct):
    content: list[EngineLogprob] | None = None


class Choice(Struct):
    index: int = 0
    delta: Delta = msgspec.field(default_factory=Delta)
    text: str = ""
    finish_reason: str | None = None
    logprobs: EngineLogprobs | None = None


class EngineTokenDetails(Struct):
    cached_tokens: int = 0


class EngineUsage(Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: EngineTokenDetails | None = None


class Timings(Struct):
    """Timings of llama-server; vLLM sends none."""

    cache_n: int = 0
    prompt_n: int = 0
    prompt_ms: float = 0.0
    predicted_ms: float = 0.0
    predicted_n: int = 0

    def usage(self) -> Usage:
        """What an answer has taken so far."""
        return Usage(
            prompt_tokens=self.cache_n + self.prompt_n,
            cached_tokens=self.cache_n,
            completion_tokens=self.predicted_n,
            prompt_ns=round(self.prompt_ms * 1e6),
            completion_ns=round(self.predicted_ms * 1e6),
        )


class PrefillProgress(Struct):
    """From llama-server: how many of a prompt's tokens are in the KV cache, those of earlier prompts included."""

    total: int
    processed: int


class Error(Struct):
    code: int | str | None = None
    type: str | None = None
    message: str = "the engine gave no reason"
    n_prompt_tokens: int = 0


class Event(Struct):
    choices: list[Choice] = []
    usage: EngineUsage | None = None
    timings: Timings | None = None
    prompt_progress: PrefillProgress | None = None
    error: Error | None = None


class Vector(Struct):
    """A vector; 32-bit floats in base64 where that is asked for and the engine knows it: they cost a tenth."""

    index: int
    embedding: list[float] | bytes

    @property
    def components(self) -> tuple[float, ...]:
        content = self.embedding
        return unpack(f"<{len(content) // 4}f", content) if isinstance(content, bytes) else tuple(content)


class Vectors(Struct):
    data: list[Vector]
    usage: EngineUsage


class Score(Struct):
    index: int
    relevance_score: float


class EngineScores(Struct):
    results: list[Score]
    usage: EngineUsage = msgspec.field(default_factory=EngineUsage)


class TokenList(Struct):
    tokens: list[int]


class TokenPiece(Struct):
    """A token and what it spells: bytes where that is not valid UTF-8."""

    id: int
    piece: str | list[int]


class TokenPieces(Struct):
    tokens: list[TokenPiece]


class Content(Struct):
    content: str


class Rendered(Struct):
    prompt: str
