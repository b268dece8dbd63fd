"""Calls to an engine in llama-server's dialect of OpenAI's API, with one streaming loop for every kind of answer.

An engine killed in mid-stream closes its connection like one that has finished (measured with b11549). Only `[DONE]`
distinguishes them, so an answer without it raises EngineLost.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import msgspec
import orjson

from oprel.core.completion import (
    Chunk,
    Chunks,
    CompletionRequest,
    Embeddings,
    PromptMessage,
    Sampling,
    Scores,
    Tokens,
    ToolCall,
)
from oprel.core.request_options import OPTIONS
from oprel.runtime.backends.openai import types as wire
from oprel.runtime.backends.openai.answers import NOT_ITS_DIALECT, Answers, refusal
from oprel.runtime.backends.openai.logprobs import with_split_entry
from oprel.runtime.engine import EngineLost, EngineRefused
from oprel.runtime.http import ConnectionBroken, EngineHttp, read_all

Sent = TypeVar("Sent")

# Readers of whole answers, made once.
VECTORS, SCORES = wire.decoder(wire.Vectors), wire.decoder(wire.EngineScores)
TOKENS, PIECES = wire.decoder(wire.TokenList), wire.decoder(wire.TokenPieces)
CONTENT, RENDERED = wire.decoder(wire.Content), wire.decoder(wire.Rendered)

DATA, ERROR, DONE = b"data: ", b"error: ", b"data: [DONE]"


async def complete(http: EngineHttp, request: CompletionRequest) -> AsyncGenerator[Chunks, None]:
    """Stream an answer, or `n` of them. Only the last chunk has `finish`.

    Closing the iterator closes the connection, which frees the engine's slot.
    Raises EngineRefused, or EngineLost where the answer breaks off. An AnswerUnparsed may come at its end.
    """
    path = "/v1/chat/completions" if isinstance(request.prompt, tuple) else "/v1/completions"
    answers, pieces_of = Answers(request.top_logprobs), partial(token_pieces, http)
    async with aclosing(_events(http, path, await _encoded_completion(request))) as arrived:
        async for events in arrived:
            chunks, error = _read(events, answers)
            if request.top_logprobs is not None:
                chunks = [await with_split_entry(chunk, pieces_of) for chunk in chunks]
            if chunks:
                yield chunks
            if error:
                raise error
    yield answers.ends()


def _read(events: Sequence[bytes], answers: Answers) -> tuple[list[Chunk], EngineRefused | EngineLost | None]:
    """What events add that arrived together, and the error that ends them."""
    chunks: list[Chunk] = []
    try:
        for event in events:
            chunks += answers.add(event)
    except (EngineRefused, EngineLost) as error:
        return chunks, error
    return chunks, None


async def embed(http: EngineHttp, inputs: Sequence[str | Sequence[int]], *, normalised: bool = True) -> Embeddings:
    """One vector per input (text or tokens), all in one batch. Raises EngineRefused or EngineLost."""
    scaled: dict[str, object] = {} if normalised else {"embd_normalize": -1}
    body = {"input": inputs, "encoding_format": "base64", **scaled}
    answer = await _call(http, "/v1/embeddings", body, VECTORS)
    ordered = sorted(answer.data, key=lambda vector: vector.index)
    return Embeddings(tuple(vector.components for vector in ordered), answer.usage.prompt_tokens)


async def rerank(http: EngineHttp, query: str, documents: Sequence[str]) -> Scores:
    """How relevant each document is to the query. Raises EngineRefused or EngineLost."""
    answer = await _call(http, "/v1/rerank", {"query": query, "documents": documents}, SCORES)
    scores = {score.index: score.relevance_score for score in answer.results}
    return Scores(tuple(scores[index] for index in range(len(documents))), answer.usage.prompt_tokens)


async def tokenize(
    http: EngineHttp, text: str | Sequence[str | int], *, parse: bool = True, begin: bool = True
) -> list[int]:
    """The tokens of a text, or of texts and tokens in a row.

    `parse`: recognize control tokens in it; `begin`: add the tokens that open a prompt.
    """
    body = {"content": text, "add_special": begin, "parse_special": parse}
    return (await _call(http, "/tokenize", body, TOKENS)).tokens


async def token_pieces(http: EngineHttp, text: str) -> Sequence[wire.TokenPiece]:
    """The tokens of a part of an answer, with what each spells; none from an engine that cannot tell."""
    body = {"content": text, "add_special": False, "parse_special": False, "with_pieces": True}
    try:
        return (await _call(http, "/tokenize", body, PIECES)).tokens
    except (EngineRefused, EngineLost):
        return ()


async def detokenize(http: EngineHttp, tokens: Sequence[int]) -> str:
    return (await _call(http, "/detokenize", {"tokens": tokens}, CONTENT)).content


async def apply_template(http: EngineHttp, request: CompletionRequest) -> str:
    """The request's messages and tools, rendered by the model's chat template."""
    body = await asyncio.to_thread(_chat, request) if request.tools else _chat(request)
    return (await _call(http, "/apply-template", body, RENDERED)).prompt


async def _encoded_completion(request: CompletionRequest) -> bytes:
    """The request's body as JSON. Schemas become what engines can use, which takes long: in a worker thread."""
    if request.schema is None and not request.tools:
        return orjson.dumps(encode_completion(request))
    return await asyncio.to_thread(lambda: orjson.dumps(encode_completion(request)))


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
        from oprel.runtime.schemas.grammar_schema import grammar_schema  # imported late: few requests have a schema

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
        from oprel.runtime.schemas.grammar_schema import grammar_tool

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


async def _events(http: EngineHttp, path: str, body: bytes) -> AsyncGenerator[list[bytes], None]:
    """The JSON of the events of a server-sent stream, those that arrived together in one list, up to `[DONE]`."""
    try:
        async with http.stream(path, body) as answer:
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise refusal(answer.status, await read_all(answer))
            rest = b""
            while data := await answer.read():
                *blocks, rest = (rest + data if rest else data).split(b"\n\n")
                is_done = DONE in blocks
                if is_done:
                    del blocks[blocks.index(DONE) :]
                if events := [_json_of(block) for block in blocks if block.startswith((DATA, ERROR))]:
                    yield events
                if is_done:
                    return
    except ConnectionBroken as error:
        raise EngineLost(str(error)) from error
    raise EngineLost("the answer ended without its terminator")


def _json_of(block: bytes) -> bytes:
    """The JSON of an event. Errors arrive as data, or under their own name in old builds."""
    if block.startswith(DATA):
        return block[len(DATA) :]
    content = block[len(ERROR) :]
    return content if b'"error"' in content else b'{"error":%s}' % content


async def _call(http: EngineHttp, path: str, body: Mapping[str, object], reader: msgspec.json.Decoder[Sent]) -> Sent:
    """One request with one JSON answer. Raises EngineRefused or EngineLost."""
    try:
        answer = await http.post(path, orjson.dumps(body))
    except ConnectionBroken as error:
        raise EngineLost(str(error)) from error
    if answer.is_error:
        raise refusal(answer.status, answer.content)
    try:
        return reader.decode(answer.content)
    except msgspec.MsgspecError as error:
        raise EngineLost(NOT_ITS_DIALECT) from error
