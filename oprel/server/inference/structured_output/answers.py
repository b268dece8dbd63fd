"""How an engine is asked for a call that must be made, or for an answer that is a call or follows a format.

llama-server (b11549) lets a model talk without end where a tool is required, ignores a choice that names a tool, and
drops the tools where there is a format. So a call that must be made is requested as JSON with a schema. A request with
tools and a format is sent with the tools first, and again with the format if the model calls no tool.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from pydantic import JsonValue

from oprel.core.completion import Chunk, Chunks, CompletionRequest, Finish, Usage
from oprel.server.inference.structured_output.call_stream import CallStream
from oprel.server.inference.structured_output.checks import check_answer
from oprel.server.inference.structured_output.requests import REQUIRED, call_schema
from oprel.server.inference.truncation import Truncation

Pieces = AsyncGenerator[Truncation | Chunks, None]
Ask = Callable[[CompletionRequest], Pieces]


def answer_pieces(request: CompletionRequest, ask: Ask) -> Pieces:
    """The answer to a resolved request. `ask` gets an engine's answer. Raises BackendError."""
    if request.tool_choice == REQUIRED:
        return _call(request, ask)
    if request.tools and request.schema is not None:
        return _call_or_format(request, ask)
    return ask(request)


async def _call(request: CompletionRequest, ask: Ask) -> Pieces:
    schema = call_schema(request.tools)
    calls = CallStreams(schema)
    as_json = replace(request, schema=schema, tool_choice="none", parallel_tool_calls=None, top_logprobs=None)
    async with aclosing(ask(as_json)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
                continue
            parts = list[Chunk]()
            for chunk in piece:
                if chunk.finish is not None:
                    await asyncio.to_thread(calls.check, chunk.finishes)
                parts += calls.add(chunk)
            if parts:
                yield parts


class CallStreams:
    """The calls in all answers to one request, which are JSON of `schema`."""

    def __init__(self, schema: Mapping[str, JsonValue]) -> None:
        self._schema = schema
        self._calls: dict[int, CallStream] = {}

    def add(self, chunk: Chunk) -> Iterator[Chunk]:
        """What a chunk adds to thoughts or to a call, or the event that opens the answer."""
        if chunk.finish is not None:
            yield from self._whole(chunk.finishes)
            yield chunk
            return
        opens = chunk.index not in self._calls
        call = self._calls.setdefault(chunk.index, CallStream(chunk.index))
        if not chunk.text:
            if chunk.reasoning or opens:
                yield chunk
            return
        event = call.add(chunk.text)
        if event or chunk.reasoning:
            yield Chunk("", chunk.reasoning, event=event, index=chunk.index)

    def check(self, finishes: Sequence[Finish]) -> None:
        """Raises BackendError for a whole call that breaks its schema. Takes long."""
        for index, finish in enumerate(finishes):
            if finish is Finish.STOP:
                check_answer(self._calls[index].text if index in self._calls else "", self._schema)

    def _whole(self, finishes: Sequence[Finish]) -> Iterator[Chunk]:
        for index, finish in enumerate(finishes):
            if finish is Finish.STOP:
                call = self._calls.setdefault(index, CallStream(index))
                yield call.finish()


async def _call_or_format(request: CompletionRequest, ask: Ask) -> Pieces:
    first: list[Chunk] = []
    truncation: Truncation | None = None
    async with aclosing(ask(replace(request, schema=None))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                truncation = piece
                yield piece
            else:
                first += piece
    if any(chunk.tool_calls for chunk in first):
        yield first
        return
    async with aclosing(ask(replace(request, tool_choice="none"))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                if truncation is None:
                    yield piece
            elif piece[-1].finish:
                yield [*piece[:-1], replace(piece[-1], usage=_both(first[-1].usage, piece[-1].usage))]
            else:
                yield piece


def _both(first: Usage, second: Usage) -> Usage:
    """One prompt, and all tokens that were generated."""
    return replace(
        second,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        prompt_ns=first.prompt_ns + second.prompt_ns,
        completion_ns=first.completion_ns + second.completion_ns,
    )
