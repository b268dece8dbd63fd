"""The one path from a request to an engine and back. Every dialect decodes into it and encodes what it yields."""

import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace

import httpx
from pydantic import JsonValue

from oprel.core.completion import Chunk, CompletionRequest, Finish, LoadOptions, Mode, Sampling, Tokens, Usage
from oprel.core.exceptions import ValidationError
from oprel.runtime.backends import openai_http
from oprel.runtime.engine import EngineLost, EngineRefused
from oprel.server.inference import truncation
from oprel.server.inference.continuation import ResumableAnswer
from oprel.server.inference.engine_calls import EngineCall, engine_errors, is_too_long
from oprel.server.inference.request_metrics import RequestMetrics
from oprel.server.inference.structured_output import check_answer
from oprel.server.inference.truncation import Truncation
from oprel.server.models.library import InstalledModel
from oprel.server.pool.loaded_model import Lease
from oprel.server.pool.manager import ModelManager

logger = logging.getLogger(__name__)

A_TOKEN = CompletionRequest("a", Sampling(num_predict=1))
IMAGE_SECONDS = 120.0  # that a slow CPU may take to encode an image


@dataclass(frozen=True)
class Job:
    """A request for one model, whatever dialect it came in. `keep_alive` in seconds."""

    model: InstalledModel
    request: CompletionRequest
    load: LoadOptions = field(default_factory=LoadOptions)
    keep_alive: float | None = None
    context: tuple[int, ...] | None = None  # Ollama's: tokens in front of the prompt; the answer's are wanted in turn


@dataclass(frozen=True)
class Done:
    """The end of a whole answer. Durations in nanoseconds; `text` and `finish` are of the first of several answers."""

    text: str
    finish: Finish
    usage: Usage
    load_ns: int
    total_ns: int
    context: list[int] | None = None
    cut: Truncation = Truncation()
    shifted: bool = False  # the answer outgrew the context, and the oldest tokens were forgotten
    finishes: tuple[Finish, ...] = ()
    recoveries: int = 0  # engines that died while they made it


Piece = Truncation | Chunk | Done
Pieces = AsyncGenerator[Truncation | Chunk, None]


async def run(manager: ModelManager, job: Job) -> AsyncGenerator[Piece, None]:
    """The answer's chunks, then one Done; an answer that breaks off raises instead. A cut prompt is told of first.

    Closing the iterator frees the engine's slot. Raises OprelError.
    """
    with RequestMetrics(manager, job.model.name) as account:
        manager.quarantine.check(job.model.name, job.request)
        async with (
            manager.lease(job.model, job.load, job.keep_alive, slots=job.request.n) as lease,
            engine_errors(lease.process),
        ):
            account.start(lease)
            question = EngineCall(manager, lease, job.request)
            with lease.asking(job.request, manager.clock()):
                async with contextlib.aclosing(_answer(question, job, account)) as pieces:
                    async for piece in pieces:
                        yield piece


async def _answer(question: EngineCall, job: Job, account: RequestMetrics) -> AsyncGenerator[Piece, None]:
    lease, heard = question.lease, AnswerAccumulator()
    request = await question.put(lambda: _prepared(job, lease))
    story = ResumableAnswer(request)
    async with contextlib.aclosing(_surviving(question, story, account)) as pieces:
        async for piece in pieces:
            heard.hear(piece)
            if piece is not heard.last:
                yield piece
    await question.absolve()
    heard.check(request)
    context = None if job.context is None else await _context(lease, request, heard.text())
    done = heard.done(lease, account.seconds, context)
    account.finish(lease, done.usage)
    yield replace(done, recoveries=story.recoveries)


@dataclass
class AnswerAccumulator:
    """What an answer has come to."""

    said: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    calls: bool = False
    cut: Truncation = Truncation()
    last: Chunk | None = None

    def text(self, index: int = 0) -> str:
        return "".join(self.said[index])

    def hear(self, piece: Truncation | Chunk) -> None:
        if isinstance(piece, Truncation):
            self.cut = piece
            return
        self.said[piece.index].append(piece.text)
        self.calls |= bool(piece.tool_calls)
        self.last = piece if piece.finish else None

    def check(self, request: CompletionRequest) -> None:
        """Raises BackendError for a finished answer that breaks its format; one cut by its length must."""
        if request.schema is None or self.calls or self.last is None:
            return
        for index, finish in enumerate(self.last.finishes):
            if finish is Finish.STOP:
                check_answer(self.text(index), request.schema)

    def done(self, lease: Lease, seconds: float, context: list[int] | None) -> Done:
        assert self.last is not None and self.last.finish is not None
        usage, finishes = self.last.usage, self.last.finishes
        shifted = len(finishes) == 1 and usage.prompt_tokens + usage.completion_tokens > lease.num_ctx
        total_ns = round(seconds * 1e9)
        return Done(self.text(), self.last.finish, usage, lease.load_ns, total_ns, context, self.cut, shifted, finishes)


async def _surviving(question: EngineCall, story: ResumableAnswer, account: RequestMetrics) -> Pieces:
    """The answer, through the death of its engine; to a shorter prompt, told of first, where the whole does not fit."""
    lease = question.lease
    while True:
        starts = lease.process.starts
        try:
            async with contextlib.aclosing(_complete(lease, story.request)) as chunks:
                async for chunk in chunks:
                    if told := story.hear(chunk):
                        account.token()
                        await question.hear()
                        yield told
            return
        except EngineRefused as refusal:
            if is_too_long(refusal) and story.repeat():
                continue
            if story.has_begun or not (story.request.truncate and is_too_long(refusal)):
                raise
            yield await _shorten(question, story)
        except EngineLost:
            account.lost()
            if not await question.survives(starts, can_go_on=story.can_go_on):
                raise
            await lease.revive()
            await question.put(lambda: story.go_on(lease.process.http))
            logger.warning("%s: an answer goes on with another engine", lease.model.name)


async def _shorten(question: EngineCall, story: ResumableAnswer) -> Truncation:
    """Have the story begin with a prompt that fits."""
    lease, whole = question.lease, story.request
    request, cut = await question.put(lambda: truncation.fitted(lease.process.http, whole, lease.num_ctx))
    story.ask(replace(request, truncate=False))
    return cut


async def _complete(lease: Lease, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
    """The engine's answer, its progress told to the process that watches over it."""
    http = lease.process.http
    if isinstance(request.prompt, Tokens) and lease.model.sees:  # with a projector b11549 takes no tokens
        request = replace(request, prompt=await truncation.text(http, request, lease.model.bos_token))
    with lease.process.at_work(truncation.about_tokens(request), _patience(request)) as work:
        try:
            async with contextlib.aclosing(openai_http.complete(http, request)) as chunks:
                async for chunk in chunks:
                    if chunk.prefill:
                        work.prefilled(*chunk.prefill)
                        continue
                    work.moved()
                    with work.paused():
                        yield chunk
        except EngineRefused as refusal:
            failed = refusal.status >= 500 and refusal.status != httpx.codes.NOT_IMPLEMENTED
            if failed and (why := work.refused()) and not await _says_a_token(http):
                work.condemn(why)  # NousResearch/hermes-agent #104050: its health is green
            raise


async def _says_a_token(http: httpx.AsyncClient) -> bool:
    """Whether the engine answers the simplest request there is."""
    try:
        async with contextlib.aclosing(openai_http.complete(http, A_TOKEN)) as chunks:
            return [chunk async for chunk in chunks] != []
    except EngineRefused:
        return False


def _patience(request: CompletionRequest) -> float:
    """Seconds of work on images, of which the engine tells nothing."""
    return IMAGE_SECONDS * truncation.images(request)


async def load(manager: ModelManager, job: Job, mode: Mode = Mode.COMPLETION) -> int:
    """Make sure that the model is loaded; the nanoseconds it took."""
    async with manager.lease(job.model, job.load, job.keep_alive, mode, slots=0) as lease:
        return lease.load_ns


async def render(manager: ModelManager, job: Job) -> str:
    """The prompt's text as the model gets it."""
    prompt = job.request.prompt
    if isinstance(prompt, str):
        return prompt
    async with (
        manager.lease(job.model, job.load, job.keep_alive, slots=0) as lease,
        engine_errors(lease.process),
    ):
        question = EngineCall(manager, lease, job.request)
        return await question.settle(lambda: truncation.rendered(lease.process.http, job.request))


async def count_tokens(manager: ModelManager, job: Job) -> int:
    """How long the prompt is, in tokens."""
    async with (
        manager.lease(job.model, job.load, job.keep_alive, slots=0) as lease,
        engine_errors(lease.process),
    ):
        question = EngineCall(manager, lease, job.request)
        return await question.settle(lambda: truncation.length(lease.process.http, job.request))


async def _prepared(job: Job, lease: Lease) -> CompletionRequest:
    """The request with Ollama's `context` in front of its prompt, and an end to its answer."""
    request, http = _with_chosen_tool(job.request), lease.process.http
    if job.context and isinstance(request.prompt, tuple):
        rendered = await openai_http.apply_template(http, request)
        request = replace(request, prompt=Tokens((*job.context, rendered)))
    most = request.sampling.num_predict
    if most is None or most < 0:  # "until it stops", which for Ollama is ten contexts at most
        most = 10 * lease.num_ctx
    if not (request.shift or job.model.sees):  # an engine with a projector never shifts
        most = min(most, max(1, lease.num_ctx - await truncation.length(http, request)))
    return replace(
        request, sampling=_with_seed(replace(request.sampling, num_predict=most)), tell_tokens=_is_plain(job)
    )


def _with_chosen_tool(request: CompletionRequest) -> CompletionRequest:
    """Where one tool must be called, it is the only one: llama-server (b11549) ignores a choice that names it."""
    match request.tool_choice:
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            chosen = tuple(tool for tool in request.tools if _name_of(tool) == name)
            if not chosen:
                raise ValidationError(f"tool_choice names {name!r}, which is none of the tools")
            return replace(request, tools=chosen, tool_choice="required")
    return request


def _name_of(tool: Mapping[str, JsonValue]) -> JsonValue:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _with_seed(sampling: Sampling) -> Sampling:
    """With a seed of our own where none is given, so that an answer can be made again."""
    if sampling.seed is not None and sampling.seed >= 0:
        return sampling
    return replace(sampling, seed=random.getrandbits(31))


def _is_plain(job: Job) -> bool:
    """True for a request whose answer is text and nothing else."""
    request = job.request
    silent = request.think is False or not isinstance(request.prompt, tuple) or "thinking" not in job.model.capabilities
    return silent and request.n == 1 and not request.tools and request.schema is None


async def _context(lease: Lease, request: CompletionRequest, answer: str) -> list[int] | None:
    """The tokens of prompt and answer; None when the engine cannot tell: the answer itself is whole by now."""
    http = lease.process.http
    try:
        said = await openai_http.tokenize(http, answer, parse=False, begin=False)
        return [*await truncation.tokens(http, request), *said]
    except (EngineRefused, EngineLost):
        return None
