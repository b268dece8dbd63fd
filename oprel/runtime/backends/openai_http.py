"""The OpenAI-like HTTP dialect that llama-server and vLLM share. One streaming loop for every kind of answer.

An engine killed in mid-stream closes its connection like one that has finished (measured with b11549): only `[DONE]`
tells them apart, so an answer without it raises EngineLost.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from oprel.runtime.backends.base import (
    Chunk,
    CompletionRequest,
    Embeddings,
    EngineLost,
    EngineRefused,
    Finish,
    Logprob,
    Message,
    Sampling,
    ToolCall,
    Usage,
)

Reply = TypeVar("Reply", bound=BaseModel)

# Ollama's name -> the engine's, where they differ
RENAMED = {"num_predict": "max_tokens", "num_keep": "n_keep"}


class _Function(BaseModel):
    name: str | None = None
    arguments: str = ""


class _ToolCall(BaseModel):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Logprob(BaseModel):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list["_Logprob"] = []


class _Logprobs(BaseModel):
    content: list[_Logprob] | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    text: str = ""
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(BaseModel):
    cached_tokens: int = 0


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Timings(BaseModel):
    """llama-server's own; vLLM sends none."""

    prompt_ms: float = 0.0
    predicted_ms: float = 0.0


class _Error(BaseModel):
    code: int | str | None = None
    type: str | None = None
    message: str = "the engine gave no reason"


class _Event(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    error: _Error | None = None


class _Vector(BaseModel):
    index: int
    embedding: list[float]


class _Vectors(BaseModel):
    data: list[_Vector]
    usage: _Usage


class _Tokens(BaseModel):
    tokens: list[int]


class _Prompt(BaseModel):
    prompt: str


async def complete(http: httpx.AsyncClient, request: CompletionRequest) -> AsyncGenerator[Chunk, None]:
    """Stream an answer. Closing the iterator closes the connection, which frees the engine's slot.

    Raises EngineRefused, or EngineLost at the point where the answer broke off.
    """
    path = "/v1/completions" if isinstance(request.prompt, str) else "/v1/chat/completions"
    finish, usage, calls = Finish.STOP, Usage(), dict[int, _ToolCall]()
    async with aclosing(_events(http, path, orjson.dumps(encode_completion(request)))) as events:
        async for event in events:
            if event.usage:
                usage = _counted(event)
            for choice in event.choices:
                if choice.finish_reason:
                    finish = Finish.LENGTH if choice.finish_reason == "length" else Finish.STOP
                _gather(choice.delta.tool_calls or (), calls)
                if chunk := _piece(choice, request.top_logprobs or 0):
                    yield chunk
    if calls and finish is Finish.STOP:  # one cut by the length is no call
        yield Chunk(tool_calls=tuple(_whole(call) for call in calls.values()))
    yield Chunk(finish=finish, usage=usage)


async def embed(http: httpx.AsyncClient, inputs: Sequence[str | Sequence[int]]) -> Embeddings:
    """One vector an input (text or tokens), all in one batch. Raises EngineRefused or EngineLost."""
    answer = await _call(http, "/v1/embeddings", {"input": inputs}, _Vectors)
    ordered = sorted(answer.data, key=lambda vector: vector.index)
    return Embeddings(tuple(tuple(vector.embedding) for vector in ordered), answer.usage.prompt_tokens)


async def tokenize(http: httpx.AsyncClient, text: str) -> list[int]:
    """The text's tokens with control tokens parsed and those in front that the model wants."""
    return (
        await _call(http, "/tokenize", {"content": text, "add_special": True, "parse_special": True}, _Tokens)
    ).tokens


async def apply_template(http: httpx.AsyncClient, messages: Sequence[Message]) -> str:
    """The messages rendered by the model's chat template."""
    body = {"messages": [_message(message) for message in messages]}
    return (await _call(http, "/apply-template", body, _Prompt)).prompt


def encode_completion(request: CompletionRequest) -> dict[str, object]:
    """The request's body. An answer's schema goes with it, for the engine to enforce as a grammar."""
    body: dict[str, object] = {"stream": True, "stream_options": {"include_usage": True}, **_sampling(request.sampling)}
    if request.schema is not None:
        schema = request.schema or {"type": "object"}
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    if request.top_logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if isinstance(request.prompt, str):
        return body | {"prompt": request.prompt}
    if request.tools:
        body["tools"] = request.tools
    if request.think is not None:
        body["chat_template_kwargs"] = {"enable_thinking": bool(request.think)}
    if isinstance(request.think, str):
        body["reasoning_effort"] = request.think
    return body | {"messages": [_message(message) for message in request.prompt]}


def _sampling(sampling: Sampling) -> dict[str, object]:
    values = {name: value for name, value in vars(sampling).items() if value not in (None, ())}
    return {RENAMED.get(name, name): value for name, value in values.items()}


def _message(message: Message) -> dict[str, object]:
    optional = {
        "reasoning_content": message.thinking,
        "tool_calls": [_encoded(call) for call in message.tool_calls],
        "tool_call_id": message.tool_call_id,
        "name": message.tool_name,
    }
    given = {name: value for name, value in optional.items() if value}
    return {"role": message.role, "content": message.content, **given}


def _encoded(call: ToolCall) -> dict[str, object]:
    function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
    return {"id": call.id, "type": "function", "function": function}


def _piece(choice: _Choice, alternatives: int) -> Chunk | None:
    """What a choice adds to the answer, if anything. Parts of tool calls are no piece: calls are given whole."""
    text, reasoning = choice.text or choice.delta.content or "", choice.delta.reasoning_content or ""
    logprobs = choice.logprobs.content or [] if choice.logprobs else []
    if not (text or reasoning or logprobs):
        return None
    return Chunk(text, reasoning, logprobs=tuple(_logprob(one, alternatives) for one in logprobs))


def _logprob(one: _Logprob, alternatives: int) -> Logprob:
    encoded = one.token.encode() if one.bytes is None else one.bytes
    top = one.top_logprobs[:alternatives]  # llama-server tells one even where none is asked for
    return Logprob(one.token, one.logprob, tuple(encoded), tuple(_logprob(other, 0) for other in top))


def _gather(parts: Sequence[_ToolCall], calls: dict[int, _ToolCall]) -> None:
    """Add a delta's parts to the calls they belong to: the first has id and name, all have some of the arguments."""
    for part in parts:
        call = calls.setdefault(part.index, _ToolCall(index=part.index))
        call.id = call.id or part.id
        call.function.name = call.function.name or part.function.name
        call.function.arguments += part.function.arguments


def _whole(call: _ToolCall) -> ToolCall:
    try:
        arguments = orjson.loads(call.function.arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise EngineLost(f"the model's call of {call.function.name} is not valid JSON") from error
    return ToolCall(call.id or "", call.function.name or "", arguments)


def _counted(event: _Event) -> Usage:
    assert event.usage is not None
    details, timings = event.usage.prompt_tokens_details or _Details(), event.timings or _Timings()
    return Usage(
        prompt_tokens=event.usage.prompt_tokens,
        cached_tokens=details.cached_tokens,
        completion_tokens=event.usage.completion_tokens,
        prompt_ns=round(timings.prompt_ms * 1e6),
        completion_ns=round(timings.predicted_ms * 1e6),
    )


async def _events(http: httpx.AsyncClient, path: str, body: bytes) -> AsyncGenerator[_Event, None]:
    """The events of a server-sent stream, up to `[DONE]`."""
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
                        yield event
    except httpx.TransportError as error:
        raise EngineLost(str(error) or type(error).__name__) from error
    raise EngineLost("the answer ended without its terminator")


def _event(block: bytes) -> _Event | None:
    """One block of a stream; None for comments (pings). Errors come as data, or under their own name in old builds."""
    name, _, content = block.partition(b": ")
    if name not in (b"data", b"error"):
        return None
    try:
        event = _Event.model_validate_json(content)
    except ValidationError as error:
        raise EngineLost("the engine sent what is not its dialect") from error
    if name == b"error" or event.error:
        raise _refusal(httpx.codes.INTERNAL_SERVER_ERROR, content)
    return event


async def _call(http: httpx.AsyncClient, path: str, body: Mapping[str, object], reply: type[Reply]) -> Reply:
    """One request with one JSON answer. Raises EngineRefused or EngineLost."""
    try:
        response = await http.post(path, content=orjson.dumps(body))
        if response.is_error:
            raise _refusal(response.status_code, response.content)
        return reply.model_validate_json(response.content)
    except httpx.TransportError as error:
        raise EngineLost(str(error) or type(error).__name__) from error
    except ValidationError as error:
        raise EngineLost("the engine sent what is not its dialect") from error


def _refusal(status: int, content: bytes) -> EngineRefused:
    try:
        error = _Event.model_validate_json(content).error or _Error()
    except ValidationError:
        error = _Error(message=content[:200].decode(errors="replace"))
    code = error.code if isinstance(error.code, int) else status
    return EngineRefused(code, error.type or "", error.message)
