"""The one path from a request to an engine and back. Every dialect decodes into it and encodes what it yields."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TypeVar

from oprel.core.completion import Chunk, Chunks, CompletionRequest, Finish, Mode, Sampling, Tokens, Usage
from oprel.formats.templates.thinking import Marks
from oprel.runtime.engine import AnswerUnparsed, Engine, EngineLost, EngineRefused, Work
from oprel.server.inference.answers.continuation import ResumableAnswer
from oprel.server.inference.answers.runaway import guarded
from oprel.server.inference.answers.thoughts import AnswerThoughts, opened_marks, with_thoughts
from oprel.server.inference.answers.unparsed import with_unparsed
from oprel.server.inference.cells import extended, lacks_cells, reserved
from oprel.server.inference.contexts import context_tokens
from oprel.server.inference.engine_calls import EngineCall, engine_errors, is_too_long
from oprel.server.inference.image_limits import check_sizes, check_tokens, images_in
from oprel.server.inference.jobs import Job, prepared, resolved_job
from oprel.server.inference.request_metrics import RequestMetrics
from oprel.server.inference.structured_output.answers import Pieces, answer_pieces
from oprel.server.inference.structured_output.checks import check_answer
from oprel.server.inference.structured_output.requests import begun
from oprel.server.inference.truncation import (
    Truncation,
    about_tokens,
    check_length,
    image_count,
    prompt_length,
    prompt_text,
    rendered,
    truncated,
)
from oprel.server.pool.loaded_model import Lease
from oprel.server.pool.manager import ModelManager

logger = logging.getLogger(__name__)

A_TOKEN = CompletionRequest("a", Sampling(num_predict=1))
IMAGE_SECONDS = 120.0  # that a slow CPU may take to encode an image, without a sign of progress

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Done:
    """The end of a whole answer. Durations in nanoseconds; `text` and `finish` are of the first of several answers."""

    text: str
    finish: Finish
    usage: Usage
    load_ns: int
    total_ns: int
    context: list[int] | None = None
    truncation: Truncation = Truncation()
    shifted: bool = False  # the answer outgrew the context, and the oldest tokens were forgotten
    finishes: tuple[Finish, ...] = ()
    recoveries: int = 0  # engines that died while they made it
    ended_by: str = ""  # what ended it, if neither the model nor its limit did
    limit: str = ""  # the option that bounds it, or "context", if that ended it
    unparsed: str = ""  # why the engine could not parse it: it is what the model wrote


Piece = Truncation | Chunks | Done


async def run(manager: ModelManager, job: Job) -> AsyncGenerator[Piece, None]:
    """The answer's chunks, then one Done; an answer that breaks off raises instead. A Truncation comes first, if any.

    Closing the iterator frees the engine's slot. Raises OprelError.
    """
    job = await _checked(manager, job)
    with RequestMetrics(manager.metrics, manager.clock, job.model.name) as metrics:
        manager.quarantine.check(job.model.name, job.request, lambda: job.model.digest)
        async with (
            manager.lease(job.model, job.load, job.keep_alive, slots=job.request.n) as lease,
            engine_errors(lease.engine),
        ):
            check_tokens(job.request, job.model.image_tokens, lease.num_ctx)
            check_length(job.request, lease.num_ctx)
            metrics.start(lease)
            call = EngineCall(lease, job.request, manager.quarantine, manager.metrics)
            with lease.loaded.in_flight.entered(job.model.name, job.request, manager.clock()):
                async with contextlib.aclosing(_answer(call, job, metrics)) as pieces:
                    async for piece in pieces:
                        yield piece


async def _checked(manager: ModelManager, job: Job) -> Job:
    """The resolved job of a request that an engine can take. Raises ValidationError, ImageTooLargeError."""
    request, settings = job.request, manager.config.for_model(job.model.name)
    job = await asyncio.to_thread(resolved_job, job, settings) if request.tools else resolved_job(job, settings)
    if image_count(request):
        check_sizes(await asyncio.to_thread(images_in, request), job.model.image_tokens)
    return job


async def _answer(call: EngineCall, job: Job, metrics: RequestMetrics) -> AsyncGenerator[Piece, None]:
    lease, accumulator, engine_answers = call.lease, AnswerAccumulator(), EngineAnswers(call, metrics)
    request = await call.ask(lambda: prepared(job, lease))
    async with contextlib.aclosing(answer_pieces(request, engine_answers.ask)) as pieces:
        async for piece in pieces:
            if passed := accumulator.add(piece):
                yield passed
    await call.clear()
    if request.schema is not None:
        await asyncio.to_thread(accumulator.check, request)
    context = None
    if job.context is not None:
        context = await context_tokens(lease.engine, request, accumulator.text(), engine_answers.last)
    done = accumulator.done(lease, metrics.seconds, context)
    metrics.finish(lease, done.usage)
    yield replace(
        done,
        recoveries=engine_answers.recoveries,
        shifted=done.shifted or engine_answers.have_forgotten,
        limit=limit_reached(done, job.request.sampling.num_predict),
    )


def limit_reached(done: Done, num_predict: int | None) -> str:
    """Which limit ended an answer: "num_predict" if it has all of the requested tokens, else "context"."""
    if done.finish is not Finish.LENGTH or done.ended_by:
        return ""
    is_complete = num_predict is not None and 0 <= num_predict <= done.usage.completion_tokens
    return "num_predict" if is_complete else "context"


@dataclass
class EngineAnswers:
    """The answers that engines make for one request, usually one."""

    call: EngineCall
    metrics: RequestMetrics
    _all: list[ResumableAnswer] = field(default_factory=list)

    @property
    def recoveries(self) -> int:
        return sum(answer.recoveries for answer in self._all)

    @property
    def have_forgotten(self) -> bool:
        return any(answer.has_forgotten for answer in self._all)

    @property
    def last(self) -> ResumableAnswer | None:
        return self._all[-1] if self._all else None

    def ask(self, request: CompletionRequest) -> Pieces:
        """The answer, with its thoughts as such; as plain text where the engine cannot parse it."""
        pieces = with_unparsed(request, self._ask_engine, self._render)
        if request.sampling.runaway_guard:
            pieces = guarded(pieces, request)
        thinking = self.call.lease.model.thinking
        if thinking is None or not isinstance(request.prompt, tuple):
            return pieces
        return with_thoughts(pieces, AnswerThoughts(thinking.marks, lambda: self._opened(request, thinking.marks)))

    def _ask_engine(self, request: CompletionRequest) -> Pieces:
        self._all.append(ResumableAnswer(request))
        return _surviving(self.call, self._all[-1], self.metrics)

    async def _render(self) -> str:
        """The prompt of the last answer as text."""
        return await self.call.ask(lambda: self.call.lease.engine.apply_template(self._all[-1].whole_request))

    async def _opened(self, request: CompletionRequest, marks: Sequence[Marks]) -> Marks | None:
        """The marks of the thought that the prompt opens, if the engine does not know it."""
        if self.call.lease.loaded.splits_thoughts or request.think is False or request.schema is not None:
            return None
        try:
            return opened_marks(await self.call.lease.engine.apply_template(request), marks)
        except (EngineRefused, EngineLost):
            return None


@dataclass
class AnswerAccumulator:
    """An answer, or several of one request, as received so far."""

    texts: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: bool = False
    truncation: Truncation = Truncation()
    last: Chunk | None = None

    def text(self, index: int = 0) -> str:
        return "".join(self.texts[index])

    def add(self, piece: Truncation | Chunks) -> Truncation | Chunks:
        """What of the piece is passed on: not the finish."""
        if isinstance(piece, Truncation):
            self.truncation = piece
            return piece
        for chunk in piece:
            self.texts[chunk.index].append(chunk.text)
            if chunk.tool_calls:
                self.calls = True
        self.last = piece[-1] if piece[-1].finish else None
        return piece[:-1] if self.last else piece

    def check(self, request: CompletionRequest) -> None:
        """Raises BackendError for a finished answer that breaks its format; one cut by its length must."""
        if request.schema is None or self.calls or self.last is None:
            return
        for index, finish in enumerate(self.last.finishes):
            if finish is Finish.STOP:
                check_answer(begun(request) + self.text(index), request.schema)

    def done(self, lease: Lease, seconds: float, context: list[int] | None) -> Done:
        assert self.last is not None and self.last.finish is not None
        usage, finishes = self.last.usage, self.last.finishes
        return Done(
            text=self.text(),
            finish=self.last.finish,
            usage=usage,
            load_ns=lease.load_ns,
            total_ns=round(seconds * 1e9),
            context=context,
            truncation=self.truncation,
            shifted=len(finishes) == 1 and usage.prompt_tokens + usage.completion_tokens > lease.num_ctx,
            finishes=finishes,
            ended_by=self.last.ended_by,
            unparsed=self.last.unparsed,
        )


async def _surviving(call: EngineCall, answer: ResumableAnswer, metrics: RequestMetrics) -> Pieces:
    """The answer, through the death of its engine; to a truncated prompt where the whole does not fit."""
    lease = call.lease
    while True:
        starts = lease.engine.starts
        try:
            async with contextlib.aclosing(_of_one_request(call, answer, metrics)) as pieces:
                async for piece in pieces:
                    yield piece
            if not answer.is_cut:
                return
        except EngineRefused as refusal:
            if is_too_long(refusal) and answer.repeat():
                continue
            if answer.has_begun or not (answer.request.truncate and is_too_long(refusal)):
                raise
            yield await _truncate(call, answer)
        except EngineLost:
            metrics.lost()
            if not await call.survives(starts, can_go_on=answer.can_go_on):
                raise
            await call.revive()
            await call.ask(lambda: answer.go_on(lease.engine))
            logger.warning("%s: an answer goes on with another engine", lease.model.name)


async def _of_one_request(call: EngineCall, answer: ResumableAnswer, metrics: RequestMetrics) -> Pieces:
    """What the engine adds to the answer, which `is_cut` if it is to go on with more cells than were reserved."""
    answer.is_cut = False
    sent = await reserved(call, answer)
    async with contextlib.aclosing(_complete(call.lease, sent)) as received:
        async for arrived in received:
            is_full = lacks_cells(arrived[-1], sent, answer)
            if chunks := answer.receive_all(arrived[:-1] if is_full else arrived):
                metrics.tokens(len(chunks))
                await call.progress(len(chunks))
                yield chunks
            answer.is_cut = is_full and await extended(call, answer, arrived[-1])
            if is_full and not answer.is_cut:
                yield answer.receive_all(arrived[-1:])


async def _truncate(call: EngineCall, answer: ResumableAnswer) -> Truncation:
    """Begin the answer again, to a prompt that fits."""
    lease, whole = call.lease, answer.request
    request, truncation = await call.ask(lambda: truncated(lease.engine, whole, lease.num_ctx))
    answer.restart(replace(request, truncate=False))
    return truncation


async def _complete(lease: Lease, request: CompletionRequest) -> AsyncGenerator[Chunks, None]:
    """The engine's answer. Its progress is reported to the hang detector."""
    engine = lease.engine
    if isinstance(request.prompt, Tokens) and lease.model.sees:  # with a projector b11549 takes no tokens
        request = replace(request, prompt=await prompt_text(engine, request, lease.model.bos_token))
    with engine.at_work(about_tokens(request), IMAGE_SECONDS * image_count(request)) as work:
        try:
            async with contextlib.aclosing(engine.complete(request)) as answer:
                async for arrived in answer:
                    if chunks := _reported(arrived, work):
                        work.pause()  # until the next ones are asked for: the client may be slow to read
                        yield chunks
                        work.resume()
        except EngineRefused as refusal:
            broken = isinstance(refusal, AnswerUnparsed)
            failed = refusal.status >= 500 and refusal.status != HTTPStatus.NOT_IMPLEMENTED and not broken
            if failed and (why := work.refused()) and not await _generates_a_token(engine):
                work.kill_as(why)  # NousResearch/hermes-agent #104050: its health is green
            raise


def _reported(arrived: Chunks, work: Work) -> Chunks:
    """The chunks that belong to the answer, after the hang detector knows of all."""
    for chunk in arrived:
        if chunk.prefill:
            work.prefilled(*chunk.prefill)
    chunks = [chunk for chunk in arrived if not chunk.prefill]
    if chunks:
        work.moved()
    return chunks


async def _generates_a_token(engine: Engine) -> bool:
    """Whether the engine answers the simplest request possible."""
    try:
        async with contextlib.aclosing(engine.complete(A_TOKEN)) as answer:
            return [chunks async for chunks in answer] != []
    except EngineRefused:
        return False


async def load(manager: ModelManager, job: Job, mode: Mode = Mode.COMPLETION) -> int:
    """Make sure that the model is loaded; the nanoseconds it took."""
    async with manager.lease(job.model, job.load, job.keep_alive, mode, slots=0) as lease:
        return lease.load_ns


async def render(manager: ModelManager, job: Job) -> str:
    """The prompt's text as the model gets it."""
    job = resolved_job(job, manager.config.for_model(job.model.name))
    prompt = job.request.prompt
    return prompt if isinstance(prompt, str) else await _about_prompt(manager, job, rendered)


async def count_tokens(manager: ModelManager, job: Job) -> int:
    """How long the prompt is, in tokens."""
    return await _about_prompt(manager, resolved_job(job, manager.config.for_model(job.model.name)), prompt_length)


async def _about_prompt(
    manager: ModelManager, job: Job, ask: Callable[[Engine, CompletionRequest], Awaitable[Result]]
) -> Result:
    async with (
        manager.lease(job.model, job.load, job.keep_alive, slots=0) as lease,
        engine_errors(lease.engine),
    ):
        check_length(job.request, lease.num_ctx)
        call = EngineCall(lease, job.request, manager.quarantine, manager.metrics)
        return await call.ask_once(lambda: ask(lease.engine, job.request))
