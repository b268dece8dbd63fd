"""How an engine is asked for a call that must be made, or for an answer that is a call or follows a format.

llama-server (b11549) lets a model talk without end where a tool is required, ignores a choice that names a tool, and
drops the tools where there is a format. So a call that must be made is requested as JSON with a schema. A request with
tools and a format is sent with the tools first, and again with the format if the model calls no tool.
"""

import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

import orjson

from oprel.core.completion import Chunk, CompletionRequest, Finish, ToolCall, Usage
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
    texts = defaultdict[int, str](str)
    as_json = replace(request, schema=schema, tool_choice="none", parallel_tool_calls=None, top_logprobs=None)
    async with aclosing(ask(as_json)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Truncation):
                yield piece
            elif piece.finish is None:
                is_visible = bool(piece.reasoning) or piece.index not in texts
                texts[piece.index] += piece.text
                if is_visible:
                    yield replace(piece, text="", event=b"" if piece.text else piece.event)
            else:
                for index, finish in enumerate(piece.finishes):
                    if finish is Finish.STOP:
                        check_answer(texts[index], schema)
                        yield _called(texts[index], index)
                yield piece


def _called(text: str, index: int) -> Chunk:
    """The call, with the event that an engine would send."""
    answer = orjson.loads(text)
    call = ToolCall(f"call_{uuid.uuid4().hex[:24]}", answer["name"], answer["arguments"])
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    delta = {"tool_calls": [{"index": 0, "id": call.id, "type": "function", "function": function}]}
    choices = [
        {"index": index, "delta": delta, "finish_reason": None},
        {"index": index, "delta": {}, "finish_reason": "tool_calls"},
    ]
    return Chunk(tool_calls=(call,), index=index, event=orjson.dumps({"choices": choices}))


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
