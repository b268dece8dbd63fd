"""Requests to an engine other than completions: vectors, scores, tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from oprel.core.completion import Embeddings, LoadOptions, Mode, Scores
from oprel.core.exceptions import ContextLengthError, UnsupportedError
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

    An empty text counts as a blank: engines refuse it, and the whole batch with it. An over-long input is cut where
    `truncate` says so, else ContextLengthError. Raises UnsupportedError for a model that only scores: its vectors would
    be noise (b11549).
    """
    if job.model.reranks:
        raise UnsupportedError(f'"{job.model.name}" does not support embed', "It scores documents: POST /v1/rerank.")
    async with (
        manager.lease(job.model, job.load, job.keep_alive, Mode.EMBEDDING) as lease,
        engine_errors(lease.engine),
    ):
        if not job.inputs:
            return Embeddings((), 0), lease.load_ns
        inputs = [text or " " for text in job.inputs]
        call = EngineCall(lease, job.inputs, manager.quarantine, manager.metrics)
        try:
            return await _embedded(call, inputs), lease.load_ns
        except EngineRefused as refusal:
            if not is_too_long(refusal):
                raise
        if not job.truncate:
            raise ContextLengthError("the input length exceeds the context length", "Shorten it, or allow `truncate`.")
        shorter = await call.ask(lambda: _cut(lease, inputs))
        return await _embedded(call, shorter), lease.load_ns


async def _embedded(call: EngineCall, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
    return await call.ask_once(lambda: call.lease.engine.embed(inputs), sum(map(len, inputs)))


async def _cut(lease: Lease, inputs: Sequence[str | tuple[int, ...]]) -> list[Sequence[int]]:
    engine = lease.engine
    whole = [await engine.tokenize(text) if isinstance(text, str) else text for text in inputs]
    return [tokens[: lease.num_ctx - 1] for tokens in whole]


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
        engine_errors(lease.engine),
    ):
        call = EngineCall(lease, (job.query, *job.documents), manager.quarantine, manager.metrics)
        about_tokens = sum(len(job.query) + len(document) for document in job.documents)
        return await call.ask_once(lambda: lease.engine.rerank(job.query, job.documents), about_tokens)


async def tokenize(
    manager: ModelManager, model: InstalledModel, text: str, *, special: bool, keep_alive: float | None = None
) -> list[int]:
    async with (
        manager.lease(model, None, keep_alive, model.usual_mode, slots=0) as lease,
        engine_errors(lease.engine),
    ):
        call = EngineCall(lease, (text, special), manager.quarantine, manager.metrics)
        return await call.ask_once(lambda: lease.engine.tokenize(text, parse=special, begin=special))


async def detokenize(
    manager: ModelManager, model: InstalledModel, tokens: Sequence[int], *, keep_alive: float | None = None
) -> str:
    async with (
        manager.lease(model, None, keep_alive, model.usual_mode, slots=0) as lease,
        engine_errors(lease.engine),
    ):
        call = EngineCall(lease, tuple(tokens), manager.quarantine, manager.metrics)
        return await call.ask_once(lambda: lease.engine.detokenize(tokens))
