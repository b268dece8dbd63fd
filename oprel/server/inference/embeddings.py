"""What an engine is asked beside answers: vectors, scores, tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from oprel.core.completion import Embeddings, LoadOptions, Mode, Scores
from oprel.core.exceptions import ContextLengthError, UnsupportedError
from oprel.runtime.backends import openai_http
from oprel.runtime.engine import EngineRefused
from oprel.server.inference.engine_calls import EngineCall, engine_errors, is_too_long
from oprel.server.models.library import InstalledModel
from oprel.server.pool.loaded_model import Lease
from oprel.server.pool.manager import ModelManager


@dataclass(frozen=True)
class EmbedJob:
    """Inputs to embed with one model. `keep_alive` in seconds."""

    model: InstalledModel
    inputs: tuple[str | tuple[int, ...], ...]
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None
    truncate: bool = True


async def embed(manager: ModelManager, job: EmbedJob) -> tuple[Embeddings, int]:
    """One vector an input, all in one batch, and the nanoseconds of loading; no input only loads.

    An over-long input is cut where `truncate` says so, else ContextLengthError. Raises UnsupportedError for a model
    that only scores: what it would give as vectors is noise (b11549).
    """
    if job.model.reranks:
        raise UnsupportedError(f'"{job.model.name}" does not support embed', "It scores documents: POST /v1/rerank.")
    async with (
        manager.lease(job.model, job.load, job.keep_alive, Mode.EMBEDDING) as lease,
        engine_errors(lease.process),
    ):
        if not job.inputs:
            return Embeddings((), 0), lease.load_ns
        question = EngineCall(manager, lease, job.inputs)
        try:
            return await _embedded(question, job.inputs), lease.load_ns
        except EngineRefused as refusal:
            if not is_too_long(refusal):
                raise
        if not job.truncate:
            raise ContextLengthError("the input length exceeds the context length", "Shorten it, or allow `truncate`.")
        shorter = await question.put(lambda: _cut(lease, job.inputs))
        return await _embedded(question, shorter), lease.load_ns


async def _embedded(question: EngineCall, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
    process = question.lease.process
    return await question.settle(lambda: openai_http.embed(process.http, inputs), sum(map(len, inputs)))


async def _cut(lease: Lease, inputs: Sequence[str | tuple[int, ...]]) -> list[Sequence[int]]:
    http = lease.process.http
    whole = [await openai_http.tokenize(http, one) if isinstance(one, str) else one for one in inputs]
    return [one[: lease.num_ctx - 1] for one in whole]


@dataclass(frozen=True)
class RerankJob:
    model: InstalledModel
    query: str
    documents: tuple[str, ...]
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None


async def rerank(manager: ModelManager, job: RerankJob) -> Scores:
    """How relevant each document is. Raises UnsupportedError for a model that was not made for it."""
    if not job.model.reranks:
        raise UnsupportedError(f'"{job.model.name}" does not support rerank', "Use a reranking model.")
    async with (
        manager.lease(job.model, job.load, job.keep_alive, Mode.RERANK) as lease,
        engine_errors(lease.process),
    ):
        question = EngineCall(manager, lease, (job.query, *job.documents))
        about_tokens = sum(len(job.query) + len(document) for document in job.documents)
        return await question.settle(
            lambda: openai_http.rerank(lease.process.http, job.query, job.documents), about_tokens
        )


async def tokenize(
    manager: ModelManager, model: InstalledModel, text: str, *, special: bool, keep_alive: float | None = None
) -> list[int]:
    async with (
        manager.lease(model, LoadOptions(), keep_alive, model.usual_mode, slots=0) as lease,
        engine_errors(lease.process),
    ):
        question = EngineCall(manager, lease, (text, special))
        return await question.settle(
            lambda: openai_http.tokenize(lease.process.http, text, parse=special, begin=special)
        )


async def detokenize(
    manager: ModelManager, model: InstalledModel, tokens: Sequence[int], *, keep_alive: float | None = None
) -> str:
    async with (
        manager.lease(model, LoadOptions(), keep_alive, model.usual_mode, slots=0) as lease,
        engine_errors(lease.process),
    ):
        question = EngineCall(manager, lease, tuple(tokens))
        return await question.settle(lambda: openai_http.detokenize(lease.process.http, tokens))
