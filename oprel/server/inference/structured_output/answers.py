"""How an engine is asked for a call that must be made, or for an answer that is a call or follows a format.

llama-server (b11549) lets a model talk without end where a tool is required, ignores a choice that names a tool, and
drops the tools where there is a format. So a call that must be made is requested as JSON with a schema. A request with
tools and a format is sent with the tools first, and again with the format if the model calls no tool.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from oprel.core.completion import Chunk, CompletionRequest, Finish, Usage
from oprel.server.inference.structured_output.call_stream import CallStream
from oprel.server.inference.structured_output.checks import check_answer
from oprel.server.inference.structured_output.requests import REQUIRED, call_schema
from oprel.server.inference.truncation import Truncation

Pieces = AsyncGenerator[Truncation | Chunk, None]
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
    calls: dict[int, CallStream] = {}
    as_json = replace(request, schema=schema, tool_choice="none", parallel_tool_calls=None, top_logprobs=None)
    async with aclosing(ask(as_json)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
            elif piece.finish is None:
                if visible := _part(piece, calls):
                    yield visible
            else:
                for index, finish in enumerate(piece.finishes):
                    if finish is Finish.STOP:
                        call = calls.setdefault(index, CallStream(index))
                        check_answer(call.text, schema)
                        yield call.finish()
                yield piece


def _part(piece: Chunk, calls: dict[int, CallStream]) -> Chunk | None:
    """What a piece adds to thoughts or to a call, or the event that opens the answer."""
    opens = piece.index not in calls
    call = calls.setdefault(piece.index, CallStream(piece.index))
    if piece.text:
        event = call.add(piece.text)
        return Chunk("", piece.reasoning, event=event, index=piece.index) if event or piece.reasoning else None
    return piece if piece.reasoning or opens else None


async def _call_or_format(request: CompletionRequest, ask: Ask) -> Pieces:
    first: list[Chunk] = []
    truncation: Truncation | None = None
    async with aclosing(ask(replace(request, schema=None))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                truncation = piece
                yield piece
            else:
                first.append(piece)
    if any(chunk.tool_calls for chunk in first):
        for chunk in first:
            yield chunk
        return
    async with aclosing(ask(replace(request, tool_choice="none"))) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                if truncation is None:
                    yield piece
            else:
                yield replace(piece, usage=_both(first[-1].usage, piece.usage)) if piece.finish else piece


def _both(first: Usage, second: Usage) -> Usage:
    """One prompt, and all tokens that were generated."""
    return replace(
        second,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        prompt_ns=first.prompt_ns + second.prompt_ns,
        completion_ns=first.completion_ns + second.completion_ns,
    )
