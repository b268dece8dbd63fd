"""What is asked of an engine and what it answers, free of any dialect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum

from pydantic import JsonValue


@dataclass(frozen=True)
class Sampling:
    """Per-request settings under Ollama's names; None = the engine's or model's own. Token counts are in tokens."""

    temperature: float | None = 0.8
    top_k: int | None = 40
    top_p: float | None = 0.9
    min_p: float | None = 0.0
    typical_p: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    num_predict: int | None = None
    num_keep: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadOptions:
    """What an engine is started with; None = the configuration's. Another value needs another start."""

    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    num_thread: int | None = None
    use_mmap: bool | None = None

    def served_by(self, running: "LoadOptions") -> bool:
        """True when an engine started with `running` can do what is asked: equal where given, context as long."""
        for entry in fields(self):
            asked, has = getattr(self, entry.name), getattr(running, entry.name)
            if asked is not None and asked != has and not (entry.name == "num_ctx" and has is not None and asked < has):
                return False
        return True


class Mode(Enum):
    """What an engine is started for: llama-server does one of them at a time."""

    COMPLETION = "completion"
    EMBEDDING = "embedding"
    RERANK = "rerank"


@dataclass(frozen=True)
class ToolCall:
    """A whole call of a tool; `arguments` is what its schema calls properties."""

    id: str
    name: str
    arguments: Mapping[str, JsonValue]


@dataclass(frozen=True)
class PromptMessage:
    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""  # of a tool's result: the call it answers
    tool_name: str = ""
    images: tuple[str, ...] = ()  # base64, without any "data:" prefix


@dataclass(frozen=True)
class Tokens:
    """A prompt as the engine takes it: tokens, and text between them that is yet to be tokenized."""

    parts: tuple[str | int, ...]


Prompt = str | Tokens | tuple[PromptMessage, ...]


@dataclass(frozen=True)
class CompletionRequest:
    """A prompt (text or tokens, taken as they are) or messages (the model's template is applied by the engine)."""

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    schema: Mapping[str, JsonValue] | None = None  # a JSON schema the answer must follow; {} = any object
    think: bool | str | None = None
    tools: tuple[Mapping[str, JsonValue], ...] = ()  # as OpenAI's and Ollama's, with the whole schema of the parameters
    tool_choice: JsonValue = None  # OpenAI's: "auto", "none", "required" or a function
    parallel_tool_calls: bool | None = None
    logit_bias: Mapping[str, float] | None = None  # token -> what is added to its logit
    top_logprobs: int | None = None  # likeliest alternatives told of each token; None = no logprobs
    n: int = 1  # answers to make
    truncate: bool = True  # cut a prompt that does not fit, and say so; else refuse it
    tell_tokens: bool = False
    shift: bool = True  # forget the oldest tokens when an answer outgrows the context; else it ends there


class Finish(Enum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Usage:
    """Counts in tokens, durations in nanoseconds. `prompt_tokens` includes the cached ones."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    prompt_ns: int = 0
    completion_ns: int = 0


@dataclass(frozen=True)
class Logprob:
    """A token and its natural log probability, with the likeliest alternatives, best first."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top: tuple["Logprob", ...] = ()


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer; only the last one has `finish`, and an answer without it is broken."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    finish: Finish | None = None
    finishes: tuple[Finish, ...] = ()  # beside `finish`: of each of several answers
    usage: Usage = field(default_factory=Usage)
    index: int = 0  # which of several answers it belongs to
    event: bytes = b""  # the engine's own JSON, for dialects that are the engine's
    called: str = ""  # parts of tool calls in `event`: names and arguments
    tokens: tuple[int, ...] = ()  # where asked for, and what they spell
    spelled: bytes = b""
    prefill: tuple[int, int] | None = None  # prompt tokens done, and of how many: no piece of the answer

    @property
    def says_something(self) -> bool:
        """False for what only `event` tells: the beginning of an answer, a part of a tool call."""
        return bool(self.text or self.reasoning or self.tool_calls or self.logprobs)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """The pieces of an answer as one."""
    return Chunk(
        "".join(chunk.text for chunk in chunks),
        "".join(chunk.reasoning for chunk in chunks),
        tuple(call for chunk in chunks for call in chunk.tool_calls),
        tuple(one for chunk in chunks for one in chunk.logprobs),
    )


@dataclass(frozen=True)
class Embeddings:
    """One L2-normalised vector an input, in order."""

    vectors: tuple[tuple[float, ...], ...]
    prompt_tokens: int


@dataclass(frozen=True)
class Scores:
    """How relevant each document is, in order; the higher the better, on the model's own scale."""

    values: tuple[float, ...]
    prompt_tokens: int
