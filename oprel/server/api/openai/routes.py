"""OpenAI's API: chat and text completions, embeddings, models; and reranking in the form that others share.

These routes do what Ollama's `/v1` does, without its quirks. A prompt that does not fit is rejected unless `truncate`
is set: these clients have no field that reports a truncated prompt.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import fields, replace

import orjson
from fastapi import Request, Response
from pydantic import JsonValue

from oprel.core.completion import Usage
from oprel.core.exceptions import ValidationError
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode, openai_shared
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import embedding, listed
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ignored import ignore
from oprel.server.api.common.streaming import collected_reply, embedding_reply, stream_reply
from oprel.server.api.common.streaming_response import JSON, StreamingReply
from oprel.server.api.openai import decode as openai_decode
from oprel.server.api.openai import encode as openai_encode
from oprel.server.api.openai.errors import encode_error
from oprel.server.api.openai.types import (
    ChatCompletionRequest,
    EmbeddingRequest,
    RerankRequest,
    TextCompletionRequest,
)
from oprel.server.api.visible_models import survey
from oprel.server.inference import completions, embeddings
from oprel.server.inference.completions import Done, Piece
from oprel.server.inference.embeddings import EmbedJob, RerankJob
from oprel.server.inference.jobs import Job
from oprel.server.inference.truncation import Truncation
from oprel.server.models.installed_model import InstalledModel
from oprel.server.models.summaries import ModelSummary
from oprel.server.pool.manager import ModelManager

router = dialect_router(encode_error, prefix="/v1", access=AccessLevel.INFERENCE)

READ = ["GET", "HEAD"]
COUNTS = tuple(field.name for field in fields(Usage))


@router.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    body = await decode.parse_body(request, ChatCompletionRequest)
    model = await decode.model(request, decode.required(body.model))
    job = await decode.apart(request, lambda: openai_decode.chat_job(body, model))
    pieces = completions.run(state_of(request).manager, job)
    ignore(request, [*openai_decode.ignored(body), *openai_shared.unheeded_thinking(body, model)])
    if body.stream:
        return stream_reply(pieces, openai_encode.ChatStream(body.model, body.stream_options.include_usage))
    return collected_reply(pieces, lambda chunks, done: openai_encode.chat_completion(body.model, chunks, done))


@router.post("/completions")
async def text_completions(request: Request) -> Response:
    body = await decode.parse_body(request, TextCompletionRequest)
    model = await decode.model(request, decode.required(body.model))
    jobs, echoes = await decode.apart(request, lambda: openai_decode.text_jobs(body, model)), _echoes(body)
    ignore(request, ["think"] if openai_shared.think(body) else [])
    pieces = _one_after_another(state_of(request).manager, jobs)
    if body.stream:
        return stream_reply(pieces, openai_encode.TextStream(body.model, body.stream_options.include_usage, echoes))
    return collected_reply(pieces, lambda chunks, done: openai_encode.text_completion(body.model, chunks, done, echoes))


def _echoes(body: TextCompletionRequest) -> dict[int, str]:
    texts = [prompt for prompt in openai_decode.prompts_of(body) for _ in range(body.n)]
    return {index: text for index, text in enumerate(texts) if body.echo and isinstance(text, str)}


async def _one_after_another(manager: ModelManager, jobs: Sequence[Job]) -> AsyncGenerator[Piece, None]:
    """The answers of all jobs as if one job had made them: with consecutive indexes and the sum of their usage."""
    ends: list[Done] = []
    for job in jobs:
        first = sum(len(done.finishes) for done in ends)
        async with aclosing(completions.run(manager, job)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    ends.append(piece)
                elif isinstance(piece, Truncation) or not first:
                    yield piece
                else:
                    yield [replace(chunk, index=chunk.index + first) for chunk in piece]
    finishes = tuple(finish for done in ends for finish in done.finishes)
    yield replace(
        ends[-1],
        finishes=finishes,
        usage=_sum([done.usage for done in ends]),
        recoveries=sum(done.recoveries for done in ends),
        unparsed=next((done.unparsed for done in ends if done.unparsed), ""),
        ended_by=next((done.ended_by for done in ends if done.ended_by), ""),
    )


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in COUNTS})


@router.post("/embeddings")
async def embed(request: Request) -> Response:
    body = await decode.parse_body(request, EmbeddingRequest)
    if body.encoding_format not in ("float", "base64"):
        raise ValidationError(f"invalid encoding_format: {body.encoding_format!r}", "Use float or base64.")
    inputs = _inputs(body)
    model = await decode.model(request, decode.required(body.model))
    for item in inputs:
        if not isinstance(item, str):
            decode.tokens(item, model)
    _, load = decode.options(body.options, model.conventions.parameters)
    job = EmbedJob(
        model=model,
        inputs=inputs,
        load=load,
        keep_alive=decode.keep_alive(body.keep_alive),
        truncate=state_of(request).manager.config.truncate_embeddings == "on"
        if body.truncate is None
        else body.truncate,
        input_type=body.input_type,
        normalised=body.normalize,
    )

    async def content() -> AsyncGenerator[bytes, None]:
        result, _ = await embeddings.embed(state_of(request).manager, job)
        vectors = [embedding(vector, body.dimensions, normalised=body.normalize) for vector in result.vectors]
        data = [
            {"object": "embedding", "index": index, "embedding": openai_encode.vector(vector, body.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        yield _listed(body.model, "data", data, result.prompt_tokens)

    return embedding_reply(request, job, StreamingReply(content(), JSON))


def _inputs(body: EmbeddingRequest) -> tuple[str | tuple[int, ...], ...]:
    inputs = body.input
    if inputs is None or inputs == []:
        raise ValidationError("invalid input", "`input` takes a text, tokens, or a list of either.")
    if isinstance(inputs, str):
        return (inputs,)
    tokens = tuple(item for item in inputs if isinstance(item, int))
    return (tokens,) if tokens else tuple(item if isinstance(item, str) else tuple(item) for item in inputs)  # type: ignore[arg-type]


@router.post("/rerank")
async def rerank(request: Request) -> Response:
    body = await decode.parse_body(request, RerankRequest)
    texts = tuple(item if isinstance(item, str) else item.text for item in body.documents)
    if not body.query or not texts:
        raise ValidationError("rerank needs a `query` and `documents`")
    if body.top_n is not None and body.top_n < 1:
        raise ValidationError("top_n must be at least 1")
    model = await decode.model(request, decode.required(body.model))
    _, load = decode.options(body.options, model.conventions.parameters)
    job = RerankJob(
        model=model,
        query=body.query,
        documents=texts,
        load=load,
        keep_alive=decode.keep_alive(body.keep_alive),
    )

    async def content() -> AsyncGenerator[bytes, None]:
        scores = await embeddings.rerank(state_of(request).manager, job)
        best = sorted(range(len(texts)), key=lambda index: scores.values[index], reverse=True)[: body.top_n]
        results = [
            {"index": index, "relevance_score": scores.values[index]}
            | ({"document": {"text": texts[index]}} if body.return_documents else {})
            for index in best
        ]
        yield _listed(body.model, "results", results, scores.prompt_tokens)

    return StreamingReply(content(), JSON)


def _listed(model: str, name: str, items: Sequence[object], prompt_tokens: int) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps({"object": "list", "model": model, name: items, "usage": usage})


@router.api_route("/models", methods=READ)
async def list_models(request: Request) -> Response:
    around = b'{"object":"list","data":[%b]}'
    return await survey(request, lambda models: listed(models, _listed_model, around))


@router.api_route("/models/{name:text}", methods=READ)
async def show_model(request: Request, name: str) -> Response:
    model = await decode.model(request, name)
    return _json({**_model(model), "id": name})


def _listed_model(model: ModelSummary) -> bytes:
    return orjson.dumps(_model(model))


def _model(model: InstalledModel | ModelSummary) -> dict[str, JsonValue]:
    *_, namespace, _ = ("", "library", *model.name.split("/"))
    return {"id": model.name, "object": "model", "created": int(model.changed.timestamp()), "owned_by": namespace}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)
