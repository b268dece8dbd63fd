"""Requests to an engine other than completions: vectors, scores, tokens."""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from oprel.core.completion import CompletionRequest, Embeddings, LoadOptions, Mode, Scores
from oprel.core.exceptions import ContextLengthError, UnsupportedError, ValidationError
from oprel.formats.templates.prompts import Prompts, family_prompts, prompts_of
from oprel.runtime.engine import EngineRefused
from oprel.server.access.record import note_tokens
from oprel.server.inference.engine_calls import EngineCall, engine_errors, is_too_long
from oprel.server.inference.truncation import about_length, check_length, most_bytes
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.loaded_model import Lease
from oprel.server.pool.manager import ModelManager

PORTION, PORTION_SIZE = 512, 1 << 17  # inputs that are asked for together, and their characters or tokens
MARKS = 4  # tokens that open and close a text, rather more than less

Input = str | Sequence[int]


@dataclass(frozen=True)
class EmbedJob:
    """Inputs to embed with one model. `keep_alive` in seconds.

    `input_type` selects one of the model's prompts. Without `normalised`, vectors keep the length that the model gives.
    """

    model: InstalledModel
    inputs: tuple[str | tuple[int, ...], ...]
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None
    truncate: bool = True
    input_type: str = ""
    normalised: bool = True

    @property
    def lacks_prompts(self) -> bool:
        """Whether a text begins with none of the prompts that the model was trained with."""
        texts = [text for text in self.inputs if isinstance(text, str)]
        return not self.input_type and self.prompts.missing_in(texts)

    @cached_property
    def prompts(self) -> Prompts:
        """What the model's authors put in front of texts: as its files say, else as is known of its family."""
        model = self.model
        names = (model.name, model.source, model.weights.name)
        return prompts_of(model.header) or family_prompts(model.header.architecture, names)


async def embed(manager: ModelManager, job: EmbedJob) -> tuple[Embeddings, int]:
    """One vector an input, and the nanoseconds of loading; no input only loads.

    An empty text counts as a blank: engines refuse it. An over-long input is cut where
    `truncate` says so, else ContextLengthError. Raises UnsupportedError for a model that only scores: its vectors would
    be noise (b11549); ValidationError for an `input_type` that the model does not have.
    """
    if job.model.reranks:
        raise UnsupportedError(f'"{job.model.name}" does not support embed', "It scores documents: POST /v1/rerank.")
    inputs = prepared(job)
    async with (
        manager.lease(job.model, job.load, job.keep_alive, Mode.EMBEDDING) as lease,
        engine_errors(lease.engine),
    ):
        if not job.inputs:
            return Embeddings((), 0), lease.load_ns
        call = EngineCall(lease, job.inputs, manager.quarantine, manager.metrics)
        parts = [await _embedded(call, part, job) for part in portions(inputs)]
        vectors = tuple(vector for part in parts for vector in part.vectors)
        prompt_tokens = sum(part.prompt_tokens for part in parts)
        note_tokens(prompt_tokens, 0)
        return Embeddings(vectors, prompt_tokens), lease.load_ns


def portions(inputs: Sequence[Input]) -> Iterator[Sequence[Input]]:
    """The inputs in parts, each asked for as a whole, and again where its engine dies or an input is too long."""
    begin = size = 0
    for index, item in enumerate(inputs):
        size += len(item)
        if size > PORTION_SIZE and index > begin or index - begin == PORTION:
            yield inputs[begin:index]
            begin, size = index, len(item)
    yield inputs[begin:]


def prepared(job: EmbedJob) -> list[Input]:
    """The inputs as the engine gets them: with the model's prompt, and never empty. Raises ValidationError."""
    prompt = _prompt(job)
    return [_prepared(job, item, prompt) if isinstance(item, str) else item or " " for item in job.inputs]


def _prompt(job: EmbedJob) -> str:
    """What belongs in front of each text. Raises ValidationError for an `input_type` that the model does not have."""
    prompts = job.prompts
    if not (job.input_type and prompts):
        return prompts.automatic
    prompt = prompts.named(job.input_type)
    if prompt is None:
        names = ", ".join(prompts.texts)
        raise ValidationError(f'"{job.model.name}" has no prompt for "{job.input_type}"', f"It has {names}.")
    return prompt


def _prepared(job: EmbedJob, text: str, prompt: str) -> str:
    whole = text if prompt and job.prompts.begins(text) else prompt + text
    return _spelled(job.model, whole) or " "


def _spelled(model: InstalledModel, text: str) -> str:
    """The text without composed characters, for a tokenizer that drops accents.

    llama.cpp (b11549) takes them apart by itself, but not the syllables of Korean.
    """
    metadata = model.header.metadata
    is_wordpiece = metadata.get("tokenizer.ggml.model") == "bert"
    strips_accents = is_wordpiece and metadata.get("tokenizer.ggml.normalizer.strip_accents") is not False
    return unicodedata.normalize("NFD", text) if strips_accents else text


async def _embedded(call: EngineCall, inputs: Sequence[Input], job: EmbedJob) -> Embeddings:
    lease, longest = call.lease, most_bytes(call.lease.num_ctx)
    too_long = ContextLengthError("the input length exceeds the context length", "Shorten it, or allow `truncate`.")
    if job.truncate:
        inputs = [item[:longest] for item in inputs]  # more is not in the first `num_ctx` tokens
    elif any(len(item) > longest for item in inputs):
        raise too_long
    try:
        return await call.ask_once(lambda: lease.engine.embed(inputs, normalised=job.normalised))
    except EngineRefused as refusal:
        if not is_too_long(refusal):
            raise
    if not job.truncate:
        raise too_long
    shorter = await call.ask(lambda: _cut(lease, inputs))
    return await call.ask_once(lambda: lease.engine.embed(shorter, normalised=job.normalised))


async def _cut(lease: Lease, inputs: Sequence[Input]) -> list[Input]:
    metadata = lease.model.header.metadata
    ends = [metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "seperator")]
    return [
        shortened(await lease.engine.tokenize(item) if isinstance(item, str) else item, lease.num_ctx, ends)
        if _may_be_longer(item, lease.num_ctx)
        else item
        for item in inputs
    ]


def _may_be_longer(item: Input, most: int) -> bool:
    """Whether an input may have more tokens than that. A token takes a byte at least, but for the marks of the ends."""
    return len(item) > most if not isinstance(item, str) else len(item.encode()) + MARKS > most


def shortened(tokens: Sequence[int], most: int, ends: Collection[object]) -> Sequence[int]:
    """The first `most` tokens. A mark of the end stays: the vector of some models is that of this very token.

    >>> shortened([1, 5, 6, 7, 2], 4, {2})
    [1, 5, 6, 2]
    """
    if len(tokens) <= most:
        return tokens
    end = [token for token in tokens[-1:] if token in ends]
    return [*tokens[: most - len(end)], *end]


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
        for text in (job.query, *job.documents):
            check_length(CompletionRequest(text), lease.num_ctx)
        call = EngineCall(lease, (job.query, *job.documents), manager.quarantine, manager.metrics)
        about_tokens = sum(about_length(job.query) + about_length(document) + MARKS for document in job.documents)
        return await call.ask_once(lambda: lease.engine.rerank(job.query, job.documents), about_tokens)


async def tokenize(
    manager: ModelManager, model: InstalledModel, text: str, *, special: bool, keep_alive: float | None = None
) -> list[int]:
    async with (
        manager.lease(model, None, keep_alive, model.usual_mode, slots=0) as lease,
        engine_errors(lease.engine),
    ):
        check_length(CompletionRequest(text), lease.num_ctx)
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
