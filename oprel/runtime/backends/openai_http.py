"""Calls to an engine in llama-server's dialect of OpenAI's API, with one streaming loop for every kind of answer.

An engine killed in mid-stream closes its connection like one that has finished (measured with b11549). Only `[DONE]`
distinguishes them, so an answer without it raises EngineLost.
"""

import uuid
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from oprel.core.completion import (
    Chunk,
    CompletionRequest,
    Embeddings,
    Finish,
    PromptMessage,
    Sampling,
    Scores,
    Tokens,
    ToolCall,
    Usage,
)
from oprel.core.request_options import OPTIONS
from oprel.runtime.backends import openai_types as wire
from oprel.runtime.backends.logprobs import spelled, token_logprobs
from oprel.runtime.engine import AnswerUnparsed, EngineLost, EngineRefused
from oprel.runtime.schemas.grammar_schema import grammar_schema, grammar_tool

# How llama-server begins what its parser of answers refuses, with status 500.
UNPARSED = ("The model produced output that does not match", "Invalid diff:", "Failed to parse tool call arguments")

Reply = TypeVar("Reply", bound=BaseModel)


async def complete(http: httpx.AsyncClient, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
    """Stream an answer, or `n` of them. Only the last chunk has `finish`.

    Closing the iterator closes the connection, which frees the engine's slot.
    Raises EngineRefused, or EngineLost where the answer breaks off. An AnswerUnparsed may come at its end.
    """
    path = "/v1/chat/completions" if isinstance(request.prompt, tuple) else "/v1/completions"
    answers, usage, generated = defaultdict[int, _Answer](_Answer), Usage(), 0
    async with aclosing(_events(http, path, orjson.dumps(encode_completion(request)))) as events:
        async for event, content in events:
            if event.usage:
                usage = _counted(event)
                generated += event.timings.predicted_n if event.timings else 0
            if progress := event.prompt_progress:
                yield Chunk(prefill=(progress.processed, progress.total))
                continue
            if not event.choices:
                yield Chunk(event=content)
            for choice in event.choices:
                piece = answers[choice.index].add(choice, event.timings, content)
                if request.top_logprobs is not None:
                    entries, pieces_of = _entries(choice), partial(token_pieces, http)
                    logprobs = await token_logprobs(entries, piece.unreported, request.top_logprobs, pieces_of)
                    piece = replace(piece, logprobs=logprobs)
                yield piece
                content = b""  # pass it on only once
    for index, answer in sorted(answers.items()):
        if calls := answer.calls():
            yield Chunk(tool_calls=calls, index=index)
    finishes = tuple(answers[index].finish for index in sorted(answers)) or (Finish.STOP,)
    # llama-server's usage counts the tokens of one answer only, but it sends timings of each.
    counted = replace(usage, completion_tokens=max(usage.completion_tokens, generated))
    yield Chunk(finish=finishes[0], finishes=finishes, usage=counted)


@dataclass
class _Answer:
    """What has arrived of one answer: its finish, the parts of its tool calls, and how many tokens it has."""

    finish: Finish = Finish.STOP
    parts: dict[int, wire.EngineToolCall] = field(default_factory=dict)
    tokens: int = 0

    def add(self, choice: wire.Choice, timings: wire.Timings | None, event: bytes) -> Chunk:
        """The piece of the answer that the choice is."""
        if choice.finish_reason:
            self.finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
        _gather(choice.delta.tool_calls or (), self.parts)
        piece = _piece(choice, event)
        self.tokens += len(piece.tokens)
        made = max(self.tokens, timings.predicted_n if timings else 0)
        usage = _timed(timings) if timings else Usage()
        piece, self.tokens = replace(piece, unreported=made - self.tokens, usage=usage), made
        return piece

    def calls(self) -> tuple[ToolCall, ...]:
        """The complete calls; none if the answer was cut off."""
        return tuple(_whole(call) for call in self.parts.values()) if self.finish is Finish.STOP else ()


async def embed(
    http: httpx.AsyncClient, inputs: Sequence[str | Sequence[int]], *, normalised: bool = True
) -> Embeddings:
    """One vector per input (text or tokens), all in one batch. Raises EngineRefused or EngineLost."""
    body: dict[str, object] = {"input": inputs} if normalised else {"input": inputs, "embd_normalize": -1}
    answer = await _call(http, "/v1/embeddings", body, wire.Vectors)
    ordered = sorted(answer.data, key=lambda vector: vector.index)
    return Embeddings(tuple(tuple(vector.embedding) for vector in ordered), answer.usage.prompt_tokens)


async def rerank(http: httpx.AsyncClient, query: str, documents: Sequence[str]) -> Scores:
    """How relevant each document is to the query. Raises EngineRefused or EngineLost."""
    answer = await _call(http, "/v1/rerank", {"query": query, "documents": documents}, wire.EngineScores)
    scores = {score.index: score.relevance_score for score in answer.results}
    return Scores(tuple(scores[index] for index in range(len(documents))), answer.usage.prompt_tokens)


async def tokenize(http: httpx.AsyncClient, text: str, *, parse: bool = True, begin: bool = True) -> list[int]:
    """The text's tokens. `parse`: recognize control tokens in it; `begin`: add the tokens that open a prompt."""
    body = {"content": text, "add_special": begin, "parse_special": parse}
    return (await _call(http, "/tokenize", body, wire.TokenList)).tokens


async def token_pieces(http: httpx.AsyncClient, text: str) -> Sequence[wire.TokenPiece]:
    """The tokens of a part of an answer, with what each spells; none from an engine that cannot tell."""
    body = {"content": text, "add_special": False, "parse_special": False, "with_pieces": True}
    try:
        return (await _call(http, "/tokenize", body, wire.TokenPieces)).tokens
    except (EngineRefused, EngineLost):
        return ()


async def detokenize(http: httpx.AsyncClient, tokens: Sequence[int]) -> str:
    return (await _call(http, "/detokenize", {"tokens": tokens}, wire.Content)).content


async def apply_template(http: httpx.AsyncClient, request: CompletionRequest) -> str:
    """The request's messages and tools, rendered by the model's chat template."""
    return (await _call(http, "/apply-template", _chat(request), wire.Rendered)).prompt


def encode_completion(request: CompletionRequest) -> dict[str, object]:
    """The request's body. It includes the schema of the answer, which the engine enforces as a grammar."""
    body: dict[str, object] = {
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "timings_per_token": True,  # with them each event tells how many tokens there are
        **_sampling(request.sampling),
    }
    if request.schema is not None:
        schema = grammar_schema(request.schema or {"type": "object"})
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        if not isinstance(request.prompt, tuple):  # llama-server has another field there; xllamacpp wants no blanks
            body["json_schema"] = {**schema, "x-guidance": {"whitespace_flexible": False}}
    if request.top_logprobs is not None:  # at least one: for none, llama-server reports no probabilities at all
        alternatives = max(1, request.top_logprobs)
        body |= {"logprobs": True, "top_logprobs": alternatives}
    elif request.tell_tokens:  # probabilities after sampling cost nothing; others make the engine sort all tokens
        body |= {"logprobs": True, "top_logprobs": 1, "post_sampling_probs": True}
    if request.logit_bias:
        body["logit_bias"] = request.logit_bias
    if request.n > 1:
        body["n"] = request.n
    if isinstance(request.prompt, tuple):
        return body | _chat(request)
    if request.top_logprobs is not None:  # llama-server's name beside a prompt, where it ignores that of chats
        body["n_probs"] = body["top_logprobs"]
    return body | {"prompt": request.prompt.parts if isinstance(request.prompt, Tokens) else request.prompt}


def _chat(request: CompletionRequest) -> dict[str, object]:
    """The messages, and the other inputs of the chat template."""
    assert isinstance(request.prompt, tuple)
    body: dict[str, object] = {"messages": [_message(message) for message in request.prompt]}
    if request.tools:
        given = {"tool_choice": request.tool_choice, "parallel_tool_calls": request.parallel_tool_calls}
        body["tools"] = [grammar_tool(tool) for tool in request.tools]
        body |= {name: value for name, value in given.items() if value is not None}
    thinking = {} if request.think is None else {"enable_thinking": bool(request.think)}
    if variables := {**request.template_arguments, **thinking}:
        body["chat_template_kwargs"] = variables
    if isinstance(request.think, str):
        body["reasoning_effort"] = request.think
    return body


def _sampling(sampling: Sampling) -> dict[str, object]:
    """The options that are set, under the engine's names."""
    values = vars(sampling).items()
    given = [(OPTIONS[name], value) for name, value in values if value not in (None, ())]
    return {option.engine_name: value for option, value in given if option.is_for_engines}


def _message(message: PromptMessage) -> dict[str, object]:
    optional = {
        "reasoning_content": message.thinking,
        "tool_calls": [_encoded(call) for call in message.tool_calls],
        "tool_call_id": message.tool_call_id,
        "name": message.tool_name,
    }
    given = {name: value for name, value in optional.items() if value}
    return {"role": message.role, "content": _content(message), **given}


def _content(message: PromptMessage) -> str | list[dict[str, object]]:
    if not message.images:
        return message.content
    # A data URL must name a type, but the engine ignores it and inspects the bytes.
    urls = [f"data:image/png;base64,{image}" for image in message.images]
    images: list[dict[str, object]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [*images, {"type": "text", "text": message.content}]


def _encoded(call: ToolCall) -> dict[str, object]:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _entries(choice: wire.Choice) -> Sequence[wire.EngineLogprob]:
    return choice.logprobs.content or () if choice.logprobs else ()


def _piece(choice: wire.Choice, event: bytes) -> Chunk:
    """What a choice adds to the answer, without its parts of tool calls: those are reported complete, at the end."""
    entries = _entries(choice)
    calls = [part.function for part in choice.delta.tool_calls or ()]
    return Chunk(
        choice.text or choice.delta.content or "",
        choice.delta.reasoning_content or "",
        index=choice.index,
        event=event,
        called="".join(f"{call.name or ''}{call.arguments}" for call in calls),
        tokens=tuple(entry.id for entry in entries),
        spelled=b"".join(spelled(entry) for entry in entries),
    )


def _gather(parts: Sequence[wire.EngineToolCall], calls: dict[int, wire.EngineToolCall]) -> None:
    """Add a delta's parts to their calls. The first part has id and name, and each has a piece of the arguments."""
    for part in parts:
        call = calls.setdefault(part.index, wire.EngineToolCall(index=part.index))
        call.id = call.id or part.id
        call.function.name = call.function.name or part.function.name
        call.function.arguments += part.function.arguments


def _whole(call: wire.EngineToolCall) -> ToolCall:
    try:
        arguments = orjson.loads(call.function.arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise _unparsed(f"the model's call of {call.function.name} is not valid JSON") from error
    if not isinstance(arguments, dict):
        raise _unparsed(f"the arguments of the model's call of {call.function.name} are not an object")
    return ToolCall(call.id or f"call_{uuid.uuid4().hex[:8]}", call.function.name or "", arguments)


def _counted(event: wire.Event) -> Usage:
    assert event.usage is not None
    details, timings = event.usage.prompt_tokens_details or wire.EngineTokenDetails(), event.timings or wire.Timings()
    return Usage(
        prompt_tokens=event.usage.prompt_tokens,
        cached_tokens=details.cached_tokens,
        completion_tokens=event.usage.completion_tokens,
        prompt_ns=round(timings.prompt_ms * 1e6),
        completion_ns=round(timings.predicted_ms * 1e6),
    )


def _timed(timings: wire.Timings) -> Usage:
    """What an answer has taken so far."""
    return Usage(
        prompt_tokens=timings.cache_n + timings.prompt_n,
        cached_tokens=timings.cache_n,
        completion_tokens=timings.predicted_n,
        prompt_ns=round(timings.prompt_ms * 1e6),
        completion_ns=round(timings.predicted_ms * 1e6),
    )


async def _events(http: httpx.AsyncClient, path: str, body: bytes) -> AsyncGenerator[tuple[wire.Event, bytes], None]:
    """The events of a server-sent stream, each with its JSON, up to `[DONE]`."""
    _check_open(http)
    try:
        async with http.stream("POST", path, content=body) as response:
            if response.is_error:
                raise _refusal(response.status_code, await response.aread())
            rest = b""
            async for data in response.aiter_raw():
                *blocks, rest = (rest + data).split(b"\n\n")
                for block in blocks:
                    if block == b"data: [DONE]":
                        return
                    if event := _event(block):
                        yield event, block.partition(b": ")[2]
    except httpx.TransportError as error:
        raise EngineLost(str(error) or type(error).__name__) from error
    raise EngineLost("the answer ended without its terminator")


def _event(block: bytes) -> wire.Event | None:
    """One event; None for a comment (ping). Errors arrive as data, or under their own name in old builds."""
    name, _, content = block.partition(b": ")
    if name not in (b"data", b"error"):
        return None
    try:
        event = wire.Event.model_validate_json(content)
    except ValidationError as error:
        raise EngineLost("the engine sent what is not its dialect") from error
    if name == b"error" or event.error:
        raise _refusal(httpx.codes.INTERNAL_SERVER_ERROR, content)
    return event


async def _call(http: httpx.AsyncClient, path: str, body: Mapping[str, object], reply: type[Reply]) -> Reply:
    """One request with one JSON answer. Raises EngineRefused or EngineLost."""
    _check_open(http)
    try:
        response = await http.post(path, content=orjson.dumps(body))
        if response.is_error:
            raise _refusal(response.status_code, response.content)
        return reply.model_validate_json(response.content)
    except httpx.TransportError as error:
        raise EngineLost(str(error) or type(error).__name__) from error
    except ValidationError as error:
        raise EngineLost("the engine sent what is not its dialect") from error


def _check_open(http: httpx.AsyncClient) -> None:
    """Raises EngineLost if the engine was stopped or replaced since the caller's last request."""
    if http.is_closed:
        raise EngineLost("the engine is gone")


def _refusal(status: int, content: bytes) -> EngineRefused:
    try:
        error = wire.Event.model_validate_json(content).error or wire.Error()
    except ValidationError:
        error = wire.Error(message=content[:200].decode(errors="replace"))
    if error.message.startswith(UNPARSED):
        return _unparsed(error.message)
    code = error.code if isinstance(error.code, int) else status
    return EngineRefused(code, error.type or "", error.message, error.n_prompt_tokens)


def _unparsed(message: str) -> AnswerUnparsed:
    return AnswerUnparsed(httpx.codes.INTERNAL_SERVER_ERROR, "", message)
