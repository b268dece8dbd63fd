"""The one path from a request to an engine and back. Every dialect decodes into it and encodes what it yields."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field, replace

from oprel.core.exceptions import (
    BackendCrashedError,
    BackendError,
    OprelError,
    ShuttingDownError,
    UnsupportedError,
    ValidationError,
)
from oprel.runtime.backends import openai_http
from oprel.runtime.backends.base import (
    Chunk,
    CompletionRequest,
    Embeddings,
    EngineLost,
    EngineRefused,
    Finish,
    LoadOptions,
    Message,
    Usage,
)
from oprel.runtime.process import EngineProcess, State
from oprel.server.library import InstalledModel
from oprel.server.manager import Lease, ModelManager

EXIT_NOTICE = 0.5  # s to wait for the exit that a broken connection announces
CONTEXT_EXCEEDED = "exceed_context_size_error"  # llama-server's type of error


@dataclass(frozen=True)
class Job:
    """A request for one model, whatever dialect it came in. `keep_alive` in seconds."""

    model: InstalledModel
    request: CompletionRequest
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None
    wants_context: bool = False  # the tokens of prompt and answer, for Ollama's `context`


@dataclass(frozen=True)
class Done:
    """The end of a whole answer. Durations in nanoseconds."""

    text: str
    finish: Finish
    usage: Usage
    load_ns: int
    total_ns: int
    context: list[int] | None = None


async def run(manager: ModelManager, job: Job) -> AsyncGenerator[Chunk | Done, None]:
    """The answer's chunks, then one Done; an answer that breaks off raises instead.

    Closing the iterator frees the engine's slot. Raises OprelError.
    """
    began = manager.clock()
    async with manager.lease(job.model, job.load, job.keep_alive) as lease, _engine_errors(lease.process):
        said: list[str] = []
        async with contextlib.aclosing(
            openai_http.complete(lease.process.http, _bounded(job.request, lease))
        ) as chunks:
            async for chunk in chunks:
                if chunk.finish is None:
                    said.append(chunk.text)
                    yield chunk
                    continue
                text = "".join(said)
                context = await _context(lease, job.request.prompt, text) if job.wants_context else None
                total_ns = round((manager.clock() - began) * 1e9)
                yield Done(text, chunk.finish, chunk.usage, lease.load_ns, total_ns, context)


async def load(manager: ModelManager, job: Job, *, embedding: bool = False) -> int:
    """Make sure that the model is loaded; the nanoseconds it took."""
    async with manager.lease(job.model, job.load, job.keep_alive, embedding=embedding) as lease:
        return lease.load_ns


@dataclass(frozen=True)
class EmbedJob:
    model: InstalledModel
    inputs: tuple[str, ...]
    load: LoadOptions
    keep_alive: float | None
    truncate: bool


async def embed(manager: ModelManager, job: EmbedJob) -> tuple[Embeddings, int]:
    """One vector an input and the nanoseconds of loading; no input only loads.

    An over-long input is cut where `truncate` says so, else ValidationError.
    """
    async with (
        manager.lease(job.model, job.load, job.keep_alive, embedding=True) as lease,
        _engine_errors(lease.process),
    ):
        http = lease.process.http
        if not job.inputs:
            return Embeddings((), 0), lease.load_ns
        try:
            return await openai_http.embed(http, job.inputs), lease.load_ns
        except EngineRefused as refusal:
            if not _too_long(refusal):
                raise
        if not job.truncate:
            raise ValidationError("the input length exceeds the context length", "Shorten it, or allow `truncate`.")
        cut = [(await openai_http.tokenize(http, text))[: lease.num_ctx - 1] for text in job.inputs]
        return await openai_http.embed(http, cut), lease.load_ns


def _bounded(request: CompletionRequest, lease: Lease) -> CompletionRequest:
    """A negative num_predict means "until it stops", which for Ollama is ten contexts at most."""
    asked = request.sampling.num_predict
    if asked is not None and asked >= 0:
        return request
    return replace(request, sampling=replace(request.sampling, num_predict=10 * lease.num_ctx))


async def _context(lease: Lease, prompt: str | tuple[Message, ...], answer: str) -> list[int] | None:
    """The tokens of prompt and answer; None when the engine cannot tell: the answer itself is whole by now."""
    http = lease.process.http
    try:
        rendered = prompt if isinstance(prompt, str) else await openai_http.apply_template(http, prompt)
        return await openai_http.tokenize(http, rendered + answer)
    except (EngineRefused, EngineLost):
        return None


@contextlib.asynccontextmanager
async def _engine_errors(process: EngineProcess) -> AsyncIterator[None]:
    """The engine's errors as ours, in one place."""
    try:
        yield
    except EngineRefused as refusal:
        raise _refused(refusal) from refusal
    except EngineLost as loss:
        if process.state in (State.DRAINING, State.STOPPED):
            raise ShuttingDownError("the engine was stopped while it answered", "Ask again.") from loss
        ended = await process.why_it_ended(within=EXIT_NOTICE)
        if ended is None:
            raise BackendError(f"the engine broke off its answer: {loss}", "Ask again.") from loss
        raise BackendCrashedError(f"the engine died while answering: {ended.detail}", ended.advice) from loss


def _too_long(refusal: EngineRefused) -> bool:
    return refusal.kind == CONTEXT_EXCEEDED or "too large to process" in refusal.message


def _refused(refusal: EngineRefused) -> OprelError:
    if refusal.kind == CONTEXT_EXCEEDED:
        return ValidationError(
            f"the prompt is longer than the context length: {refusal.message}",
            "Shorten it, or ask for a larger `num_ctx` if the model allows one.",
        )
    if refusal.status == 501:
        return UnsupportedError(refusal.message)
    return (
        ValidationError(refusal.message)
        if refusal.status < 500
        else BackendError(f"the engine failed: {refusal.message}")
    )
