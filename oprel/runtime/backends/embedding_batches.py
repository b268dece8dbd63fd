"""Joins the inputs of requests that wait for vectors at the same time into batches for their engine.

A few batches are in the engine at a time. What arrives meanwhile goes with the next one; nothing waits for company.
Every request gives one input in turn, so that one of many inputs does not delay one of few.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from oprel.core.completion import Embeddings
from oprel.runtime.engine import EngineLost, EngineRefused, NeverSent

AT_ONCE = 4  # batches in the engine: as many as it usually has slots
MOST_INPUTS, MOST_TOKENS = 16, 1024  # of a batch, unless its first input alone has more tokens
TOKEN_BYTES = 4  # of English text, about

Input = str | Sequence[int]
Vector = tuple[float, ...]


class EmbeddingCalls(Protocol):
    """What batches call of an engine. Raises EngineRefused or EngineLost."""

    async def embed(self, inputs: Sequence[Input], *, normalised: bool) -> Embeddings:
        """One vector per input, in one call."""

    async def count(self, inputs: Sequence[Input]) -> list[int]:
        """How many tokens of each input `embed` counts, in one call."""

    async def has_ended(self) -> bool:
        """Whether the engine has ended, or is about to: a broken connection precedes the exit."""


@dataclass(eq=False)
class Request:
    """Inputs that wait for vectors, in order. `unsent`: the indices of those that are in no batch yet.

    One that `goes_alone` shares no batch: with others it was refused, or could not be counted.
    """

    inputs: Sequence[Input]
    normalised: bool
    goes_alone: bool = False
    prompt_tokens: int = 0
    vectors: dict[int, Vector] = field(default_factory=dict)
    unsent: deque[int] = field(init=False)
    result: asyncio.Future[Embeddings] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def __post_init__(self) -> None:
        self.unsent = deque(range(len(self.inputs)))

    def receive(self, indices: Sequence[int], vectors: Sequence[Vector], prompt_tokens: int) -> None:
        self.prompt_tokens += prompt_tokens
        self.vectors.update(zip(indices, vectors, strict=True))
        if len(self.vectors) == len(self.inputs) and not self.result.done():
            ordered = tuple(self.vectors[index] for index in range(len(self.inputs)))
            self.result.set_result(Embeddings(ordered, self.prompt_tokens))

    def fail(self, error: Exception) -> None:
        self.unsent.clear()
        if not self.result.done():
            self.result.set_exception(error)


@dataclass(frozen=True)
class Part:
    """The inputs of one request that go with a batch."""

    request: Request
    indices: Sequence[int]

    @property
    def inputs(self) -> list[Input]:
        return [self.request.inputs[index] for index in self.indices]


def next_batch(waiting: deque[Request]) -> list[Part]:
    """Take the inputs of the next batch from the requests, which are in order of their turn afterwards."""
    indices = defaultdict[Request, list[int]](list)
    joining = deque(request for request in waiting if _may_join(request, waiting[0]))
    inputs = tokens = 0
    while joining and inputs < MOST_INPUTS:
        request = joining.popleft()
        more = about_tokens(request.inputs[request.unsent[0]])
        if inputs and tokens + more > MOST_TOKENS:
            break
        indices[request].append(request.unsent.popleft())
        inputs, tokens = inputs + 1, tokens + more
        if request.unsent:
            joining.append(request)
    for request in indices:
        waiting.remove(request)
        if request.unsent:
            waiting.append(request)
    return [Part(request, given) for request, given in indices.items()]


def _may_join(request: Request, first: Request) -> bool:
    if request is first:
        return True
    return request.normalised == first.normalised and not (request.goes_alone or first.goes_alone)


def about_tokens(item: Input) -> int:
    """The length of an input in tokens, roughly."""
    return len(item.encode()) // TOKEN_BYTES + 2 if isinstance(item, str) else len(item)


class EmbeddingBatches:
    """The requests for vectors of one engine, across its restarts."""

    def __init__(self, calls: EmbeddingCalls) -> None:
        self._calls = calls
        self._waiting: deque[Request] = deque()
        self._running: dict[asyncio.Task[None], Sequence[Part]] = {}
        self._joins = True  # until the engine turns out not to count the tokens of each input

    async def embed(self, inputs: Sequence[Input], *, normalised: bool) -> Embeddings:
        """One vector per input. Raises EngineRefused or EngineLost; NeverSent if the engine ended before its turn."""
        if not inputs:
            return Embeddings((), 0)
        request = Request(inputs, normalised, goes_alone=not self._joins)
        self._waiting.append(request)
        self._send()
        try:
            return await request.result
        except asyncio.CancelledError:
            self._leave(request)
            raise

    def _send(self) -> None:
        self._waiting = deque(request for request in self._waiting if not request.result.done())
        while self._waiting and len(self._running) < AT_ONCE:
            parts = next_batch(self._waiting)
            task = asyncio.create_task(self._answer(parts), name=f"embed for {len(parts)} requests")
            self._running[task] = parts
            task.add_done_callback(self._end)

    def _leave(self, request: Request) -> None:
        """The client has left: a batch without any other request is stopped."""
        for task, parts in self._running.items():
            has_others = any(not part.request.result.done() for part in parts)
            if not has_others and any(part.request is request for part in parts):
                task.cancel()

    def _end(self, task: asyncio.Task[None]) -> None:
        parts = self._running.pop(task)
        if not task.cancelled() and (error := task.exception()):
            for part in parts:
                part.request.fail(RuntimeError(f"a batch of inputs failed: {error!r}"))
        self._send()

    async def _answer(self, parts: Sequence[Part]) -> None:
        """Give each part its vectors, or its error."""
        try:
            counts = await self._counted(parts)
            inputs = [item for part in parts for item in part.inputs]
            whole = await self._calls.embed(inputs, normalised=parts[0].request.normalised)
        except EngineRefused as refusal:
            if len(parts) == 1:
                parts[0].request.fail(refusal)
            else:
                self._ask_apart(parts)
        except EngineLost as loss:
            await self._lose(parts, loss)
        else:
            self._hand_out(parts, whole, counts or [whole.prompt_tokens])

    async def _counted(self, parts: Sequence[Part]) -> Sequence[int]:
        """The tokens of each part, if there are several: with the vectors the engine tells their sum only."""
        if len(parts) == 1:
            return ()
        try:
            counts = iter(await self._calls.count([item for part in parts for item in part.inputs]))
        except EngineRefused:
            self._joins = False
            raise
        return [sum(islice(counts, len(part.indices))) for part in parts]

    def _hand_out(self, parts: Sequence[Part], whole: Embeddings, counts: Sequence[int]) -> None:
        if sum(counts) != whole.prompt_tokens:
            self._joins = False
            return self._ask_apart(parts)
        vectors = iter(whole.vectors)
        for part, count in zip(parts, counts, strict=True):
            part.request.receive(part.indices, list(islice(vectors, len(part.indices))), count)

    def _ask_apart(self, parts: Sequence[Part]) -> None:
        """Have the inputs asked again, those of each request in batches of its own."""
        for part in parts:
            part.request.goes_alone = True
            part.request.unsent.extendleft(reversed(part.indices))
        returned = [part.request for part in parts]
        self._waiting = deque([*returned, *(request for request in self._waiting if request not in returned)])

    async def _lose(self, parts: Sequence[Part], loss: EngineLost) -> None:
        """Fail what was in the engine; and what was to follow, unless only the connection broke."""
        has_ended = await self._calls.has_ended()
        for part in parts:
            part.request.fail(EngineLost(str(loss)))
        in_engine = {part.request for batch in self._running.values() for part in batch}
        for request in self._waiting if has_ended else ():
            if request not in in_engine:
                request.fail(NeverSent("the engine ended before the inputs were sent"))
