"""The interface of an engine, whether it is a process on this machine or runs elsewhere."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from oprel.core.completion import Chunks, CompletionRequest, Embeddings, Scores
from oprel.runtime.binaries.engine_binaries import Binary
from oprel.runtime.exits import Exit
from oprel.runtime.spec import EngineSpec

EXIT_NOTICE = 0.5  # s to wait for the exit that a broken connection announces


class EngineRefused(Exception):
    """The engine answered with an error: `status` is HTTP's, `kind` the engine's own type of error.

    `prompt_tokens` is the length of a prompt that did not fit, if the engine reported it.
    """

    def __init__(self, status: int, kind: str, message: str, prompt_tokens: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.prompt_tokens = prompt_tokens


class AnswerUnparsed(EngineRefused):
    """What the model wrote breaks the form of its template, and the engine's parser refuses it."""


class EngineLost(Exception):
    """The connection broke, or the answer ended without its terminator: the engine has died."""


class NeverSent(EngineLost):
    """The engine died before it got the request."""


class NotRepeated(EngineLost):
    """The engine died, and the answer of the next one differs from what the client already has."""


class EngineState(Enum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CRASHED = "crashed"
    BACKING_OFF = "backing_off"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True)
class EngineSnapshot:
    """An engine at one moment, for display. `load_seconds` is how long its last start took.

    `memory_bytes` is the measured memory of its processes, without that of GPUs; 0 before the first measurement.
    """

    state: EngineState
    address: str
    starts: int = 0
    pid: int | None = None
    binary: Binary | None = None
    memory_bytes: int = 0
    load_seconds: float = 0.0
    last_exit: Exit | None = None


class Work(Protocol):
    """A request in the engine. Its caller reports progress, and a busy engine without progress is killed."""

    def prefilled(self, processed: int, total: int) -> None:
        """The engine has computed `processed` of all `total` tokens of the prompt, cached ones included."""

    def moved(self) -> None:
        """A token arrived, or anything else that shows progress."""

    def refused(self) -> str | None:
        """The engine failed the request with a status of 500 or above; the reason to suspect it, if there is one."""

    def kill_as(self, why: str) -> None:
        """Kill the engine, which does not work for the reason `why`."""

    def pause(self) -> None:
        """The client is slow to read from now on, and the engine is not expected to move."""

    def resume(self) -> None:
        """The client has read everything."""


class Engine(Protocol):
    """One model, loaded or to be loaded. All methods belong to the event loop.

    Calls raise EngineRefused when the engine answers with an error, and EngineLost when it breaks off.
    """

    @property
    def starts(self) -> int:
        """How often the engine was started. The number changes with each new process."""

    @property
    def is_down(self) -> bool:
        """It ended although oprel did not stop it, or failed to start."""

    @property
    def is_loading(self) -> bool:
        """A start is under way, or due after a pause."""

    @property
    def is_ready(self) -> bool:
        """It answers requests."""

    @property
    def was_stopped(self) -> bool:
        """oprel stopped it, or never started it. It may still be ending."""

    @property
    def last_exit(self) -> Exit | None:
        """Why it ended the last time; None before its first exit."""

    @property
    def log(self) -> list[str]:
        """The last lines of its log."""

    def follow(self) -> AsyncIterator[str]:
        """The log's lines, then each new line, across restarts, until `close`."""

    def snapshot(self) -> EngineSnapshot:
        """Its state and figures now."""

    def resident_bytes(self) -> tuple[int, int]:
        """What its process has of the machine's memory now, shared pages counted whole, and the most that it has had.

        0 where the system does not report them. Reads a file of the kernel.
        """

    def start_as(self, spec: EngineSpec) -> None:
        """Use `spec` from the next start on."""

    async def ensure_ready(self) -> None:
        """Return once the engine answers; start it if needed. Concurrent callers share one start.

        Raises BackendStartError, NoEngineError, EngineBrokenError or ShuttingDownError.
        """

    async def close(self) -> None:
        """Stop for good. Later calls of `ensure_ready` raise ShuttingDownError."""

    def kill(self) -> None:
        """Kill it without waiting for its exit: the daemon itself is about to end."""

    async def why_it_ended(self, within: float) -> Exit | None:
        """The reason of the last exit. Waits up to `within` seconds: a broken connection precedes the exit."""

    def at_work(self, about_tokens: int, extra_seconds: float = 0.0) -> AbstractContextManager[Work]:
        """Inside the block a request is in the engine. `about_tokens` is an upper estimate of the prompt's length.

        `extra_seconds` are granted until the first token, for work that the engine does not report, such as images.
        """

    def complete(self, request: CompletionRequest) -> AsyncGenerator[Chunks, None]:
        """Stream an answer, or `n` of them. Only the last chunk has `finish`; an answer without it is incomplete."""

    async def embed(self, inputs: Sequence[str | Sequence[int]], *, normalised: bool = True) -> Embeddings:
        """One vector per input (text or tokens), scaled to length 1 unless not `normalised`.

        Calls at the same time may be joined into one batch. Raises NeverSent where the engine died before its turn.
        """

    async def rerank(self, query: str, documents: Sequence[str]) -> Scores:
        """How relevant each document is to the query."""

    async def tokenize(self, text: str, *, parse: bool = True, begin: bool = True) -> list[int]:
        """The text's tokens. `parse`: recognize control tokens in it; `begin`: add the tokens that open a prompt."""

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of the tokens."""

    async def apply_template(self, request: CompletionRequest) -> str:
        """The request's messages and tools, rendered by the model's chat template."""
