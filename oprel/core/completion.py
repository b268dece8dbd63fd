"""Requests to an engine and its answers, independent of any dialect."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum

from pydantic import JsonValue

# Exported from here too: a request is built from them, and packages import all of its types from one module.
from oprel.core.request_options import LoadOptions as LoadOptions
from oprel.core.request_options import Sampling as Sampling


class Mode(Enum):
    """What an engine is started for: a llama-server does only one of them."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"


@dataclass(frozen=True)
class ToolCall:
    """A complete call of a tool; `arguments` are the properties of its schema."""

    id: str
    name: str
    arguments: Mapping[str, JsonValue]


def new_call_id() -> str:
    """For a call to which the engine gives none."""
    return f"call_{uuid.uuid4().hex[:24]}"


@dataclass(frozen=True)
class PromptMessage:
    """A message of a prompt."""

    role: str
    content: str
    thinking: str = ""
    _: KW_ONLY
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""  # in a tool's result: the call that it answers
    tool_name: str = ""
    images: tuple[str, ...] = ()  # base64, without a "data:" prefix


@dataclass(frozen=True)
class Tokens:
    """A prompt of tokens, and of texts that the engine has yet to tokenize."""

    parts: tuple[str | int, ...]


Prompt = str | Tokens | tuple[PromptMessage, ...]


@dataclass(frozen=True)
class CompletionRequest:
    """A prompt (text or tokens, passed on unchanged) or messages (the engine applies the model's template)."""

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    _: KW_ONLY
    schema: Mapping[str, JsonValue] | None = None  # the JSON schema of the answer; {} = any object
    think: bool | str | None = None
    template_arguments: Mapping[str, JsonValue] = field(default_factory=dict)  # further variables of the chat template
    tools: tuple[Mapping[str, JsonValue], ...] = ()  # in OpenAI's form, with the full schema of the parameters
    tool_choice: JsonValue = None  # OpenAI's: "auto", "none", "required" or a function
    parallel_tool_calls: bool | None = None
    logit_bias: Mapping[str, float] | None = None  # token -> value added to its logit
    top_logprobs: int | None = None  # likeliest alternatives of each token; None = no logprobs
    n: int = 1  # number of answers
    truncate: bool = True  # cut a prompt that does not fit and report it; else refuse it
    tell_tokens: bool = False
    shift: bool = True  # drop the oldest tokens when an answer outgrows the context; else end it there


class Finish(Enum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Counts in tokens, durations in nanoseconds. `prompt_tokens` includes the cached ones."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_ns: int = 0
    completion_ns: int = 0


NO_USAGE = Usage()


@dataclass(frozen=True)
class Logprob:
    """A token and its natural log probability, with the likeliest alternatives, best first.

    `merged`: the engine reported several tokens as one. Where they could be told apart, each has an entry: the last one
    with its own probability, the others with 0 instead of theirs. Else one entry stands for all of them.
    """

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top: tuple["Logprob", ...] = ()
    merged: bool = False


@dataclass(
    slots=True
)  # not frozen, though nothing changes it: each token makes one, and frozen ones take 4 times as long
class Chunk:
    """A piece of an answer. Only the last one has `finish`; an answer without it is incomplete."""

    text: str = ""
    reasoning: str = ""
    _: KW_ONLY
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    finish: Finish | None = None
    finishes: tuple[Finish, ...] = ()  # with several answers: the finish of each
    usage: Usage = NO_USAGE  # with `finish`: of the whole answer
    used: Callable[[], Usage] | None = None  # tells the usage so far, where the engine reports it
    index: int = 0  # the answer it belongs to, of several
    event: bytes = b""  # the engine's own JSON, for dialects that pass it on
    is_plain: bool = False  # text and thoughts are all that `event` has for a client
    called: str = ""  # names and arguments of tool calls in `event`, in pieces
    tokens: tuple[int, ...] = ()  # if requested, with the bytes that they spell
    spelled: bytes = b""
    unreported: int = 0  # tokens that the engine made for this piece beside `tokens`
    prefill: tuple[int, int] | None = None  # prompt tokens processed and their total; not part of the answer
    ended_by: str = ""  # with `finish`: what ended the answer, if neither the model nor its limit did
    unparsed: str = ""  # with `finish`: why the answer is the plain text that the model wrote

    @property
    def says_something(self) -> bool:
        """False when only `event` has content: the start of an answer, or a part of a tool call."""
        return bool(self.text or self.reasoning or self.tool_calls or self.logprobs)

    @property
    def is_only_text(self) -> bool:
        """Whether it says something, and nothing but text."""
        return bool(self.text) and not (self.reasoning or self.tool_calls or self.logprobs)


Chunks = Sequence[Chunk]
"""Pieces of an answer that arrived together, at least one. They stay together, which saves each of them time."""


def joined(chunks: Chunks) -> Chunk:
    """The pieces of an answer, joined into one."""
    return Chunk(
        "".join(chunk.text for chunk in chunks),
        "".join(chunk.reasoning for chunk in chunks),
        tool_calls=tuple(call for chunk in chunks for call in chunk.tool_calls),
        logprobs=tuple(logprob for chunk in chunks for logprob in chunk.logprobs),
    )


@dataclass(frozen=True)
class Embeddings:
    """One L2-normalised vector per input, in order."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int


@dataclass(frozen=True)
class Scores:
    """The relevance of each document, in order; higher is better, on the model's own scale."""

    values: tuple[float, ...]
    prompt_tokens: int
