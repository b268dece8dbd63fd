"""An engine that runs as a supervised process and answers over HTTP."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise

from oprel.core.completion import Chunks, CompletionRequest, Embeddings, Scores
from oprel.runtime.backends.embedding_batches import EmbeddingBatches
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.conversation.rules import ConversationRules, TemplateRecord
from oprel.runtime.conversation.text_calls import with_calls
from oprel.runtime.engine import EXIT_NOTICE, Engine, EngineLost, EngineRefused, EngineSnapshot, EngineState, Work
from oprel.runtime.exits import Exit, fatal_error
from oprel.runtime.restarts import History
from oprel.runtime.spec import EngineSpec
from oprel.runtime.supervisor import processes
from oprel.runtime.supervisor.child import Ended
from oprel.runtime.supervisor.hang_detector import Pace
from oprel.runtime.supervisor.launch import Launch
from oprel.runtime.supervisor.process import EngineProcess
from oprel.utils.process import systems
from oprel.utils.process.clock import Clock

DOWN = frozenset({EngineState.CRASHED, EngineState.BROKEN})
LOADING = frozenset({EngineState.STARTING, EngineState.BACKING_OFF})
STOPPED = frozenset({EngineState.DRAINING, EngineState.STOPPED})
SEPARATOR = -1  # a token that no text has
MARKS = 4  # tokens that open and close a text, rather more than less


@contextmanager
def lost_if_fatal(process: EngineProcess) -> Iterator[None]:
    """Inside the block an error after which the engine computes nothing more becomes its end: EngineLost."""
    try:
        yield
    except EngineRefused as refusal:
        if exit := fatal_error(refusal.message, process.log):
            process.kill_as(exit)
            raise EngineLost(refusal.message) from refusal
        raise


class ProcessEmbedding:
    """Implements `EmbeddingCalls` with a supervised process."""

    def __init__(self, process: EngineProcess) -> None:
        self._process = process
        self._around: int | None = None  # tokens that the engine puts around a text

    async def embed(self, inputs: Sequence[str | Sequence[int]], *, normalised: bool) -> Embeddings:
        with self._process.at_work(sum(len(item) + MARKS for item in inputs)) as work, lost_if_fatal(self._process):
            embeddings = await openai_http.embed(self._process.http, inputs, normalised=normalised)
            work.moved()
        return embeddings

    async def count(self, inputs: Sequence[str | Sequence[int]]) -> list[int]:
        if self._around is None:
            self._around = len(await openai_http.tokenize(self._process.http, ""))
        texts = [item for item in inputs if isinstance(item, str)]
        parts = [part for text in texts for part in (text, SEPARATOR)]
        joined = await openai_http.tokenize(self._process.http, parts, begin=False) if parts else []
        ends = [index for index, token in enumerate(joined) if token == SEPARATOR]
        if len(ends) != len(texts):
            raise EngineRefused(HTTPStatus.NOT_IMPLEMENTED, "not_supported_error", "it takes one text at a time")
        counts = iter([end - begin - 1 for begin, end in pairwise([-1, *ends])])
        return [next(counts) + self._around if isinstance(item, str) else len(item) for item in inputs]

    async def has_ended(self) -> bool:
        return self._process.state is not EngineState.READY or bool(await self._process.why_it_ended(EXIT_NOTICE))


class LocalEngine:
    """Implements `Engine` with a supervised process and the HTTP calls of `openai_http`.

    Conversations are passed in the form that the model's chat template takes. `record` is what it was seen to do.
    """

    def __init__(
        self, process: EngineProcess, launch: Callable[[EngineSpec], Launch], record: TemplateRecord | None = None
    ) -> None:
        self._process = process
        self._launch = launch
        self._rules = ConversationRules(self._render, record or TemplateRecord())
        self._batches = EmbeddingBatches(ProcessEmbedding(process))

    @property
    def starts(self) -> int:
        return self._process.starts

    @property
    def is_down(self) -> bool:
        return self._process.state in DOWN

    @property
    def is_loading(self) -> bool:
        return self._process.state in LOADING

    @property
    def is_ready(self) -> bool:
        return self._process.state is EngineState.READY

    @property
    def was_stopped(self) -> bool:
        return self._process.state in STOPPED

    @property
    def last_exit(self) -> Exit | None:
        return self._process.last_exit

    @property
    def log(self) -> list[str]:
        return self._process.log

    def follow(self) -> AsyncIterator[str]:
        return self._process.follow()

    def snapshot(self) -> EngineSnapshot:
        process = self._process
        return EngineSnapshot(
            state=process.state,
            address=process.address,
            starts=process.starts,
            pid=process.pid,
            binary=process.binary,
            memory_bytes=process.memory_bytes,
            load_seconds=process.load_seconds,
            last_exit=process.last_exit,
        )

    def resident_bytes(self) -> tuple[int, int]:
        return self._process.resident_bytes()

    def start_as(self, spec: EngineSpec) -> None:
        self._process.launch = self._launch(spec)

    async def ensure_ready(self) -> None:
        await self._process.ensure_ready()

    async def close(self) -> None:
        await self._process.close()

    def kill(self) -> None:
        if self._process.pid:
            processes.signal_group(self._process.pid, systems.KILL)

    async def why_it_ended(self, within: float) -> Exit | None:
        return await self._process.why_it_ended(within)

    def at_work(self, about_tokens: int, extra_seconds: float = 0.0) -> AbstractContextManager[Work]:
        return self._process.at_work(about_tokens, extra_seconds)

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[Chunks, None]:
        with lost_if_fatal(self._process):
            try:
                async with aclosing(self._answer(request, await self._rules.fit(request))) as answer:
                    async for chunks in answer:
                        yield chunks
                return
            except EngineRefused as refusal:
                plain = await self._rules.plain(request, refusal)
            async with aclosing(self._answer(request, plain)) as answer:
                async for chunks in answer:
                    yield chunks

    def _answer(self, request: CompletionRequest, passed: CompletionRequest) -> AsyncGenerator[Chunks, None]:
        """The answer to a request that is passed in another form; with calls, if its tools are passed as text."""
        answer = openai_http.complete(self._process.http, passed)
        tools_are_text = request.tools and not passed.tools and request.schema is None
        return with_calls(answer) if tools_are_text else answer

    async def embed(self, inputs: Sequence[str | Sequence[int]], *, normalised: bool = True) -> Embeddings:
        return await self._batches.embed(inputs, normalised=normalised)

    async def rerank(self, query: str, documents: Sequence[str]) -> Scores:
        with self._process.at_work(0) as work, lost_if_fatal(self._process):
            scores = await openai_http.rerank(self._process.http, query, documents)
            work.moved()
        return scores

    async def tokenize(self, text: str, *, parse: bool = True, begin: bool = True) -> list[int]:
        return await openai_http.tokenize(self._process.http, text, parse=parse, begin=begin)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return await openai_http.detokenize(self._process.http, tokens)

    async def apply_template(self, request: CompletionRequest) -> str:
        try:
            return await self._render(await self._rules.fit(request))
        except EngineRefused as refusal:
            return await self._render(await self._rules.plain(request, refusal))

    async def _render(self, request: CompletionRequest) -> str:
        return await openai_http.apply_template(self._process.http, request)


@dataclass(frozen=True)
class EngineRecord:
    """How engines for the same files and options fared, and what their template was seen to do. It outlives them."""

    history: History = field(default_factory=History)
    pace: Pace = field(default_factory=Pace)
    template: TemplateRecord = field(default_factory=TemplateRecord)


@dataclass(frozen=True, kw_only=True)
class EngineOrder:
    """What it takes to make an engine. `launch` says how one is started for a spec."""

    spec: EngineSpec
    launch: Callable[[EngineSpec], Launch]
    binaries: EngineBinaries
    record: EngineRecord
    on_end: Callable[[Ended], None]
    clock: Clock


def local_engine(order: EngineOrder) -> Engine:
    """An engine that runs as a process of this machine."""
    record = order.record
    process = EngineProcess(
        order.launch(order.spec),
        order.binaries,
        clock=order.clock,
        history=record.history,
        pace=record.pace,
        on_end=order.on_end,
    )
    return LocalEngine(process, order.launch, record.template)
