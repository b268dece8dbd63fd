"""OpenAI's API: chat and text completions, embeddings, models; and reranking in the form that others share.

What Ollama's `/v1` does holds here too, but for its quirks. A prompt that does not fit is refused unless `truncate` is
set: these clients have no field in which they would see that something was cut.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import JsonValue

from oprel.core.completion import Usage
from oprel.core.exceptions import ValidationError
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import normalised
from oprel.server.api.common.streaming import streamed, whole
from oprel.server.api.common.streaming_response import JSON, StreamingReply
from oprel.server.api.openai import decode as openai_decode
from oprel.server.api.openai import encode as openai_encode
from oprel.server.api.openai.types import (
    ChatCompletionRequest,
    EmbeddingRequest,
    RerankRequest,
    TextCompletionRequest,
)
from oprel.server.inference import completions, embeddings
from oprel.server.inference.completions import Done, Job, Piece
from oprel.server.inference.embeddings import EmbedJob, RerankJob
from oprel.server.inference.truncation import Truncation
from oprel.server.models.library import InstalledModel
from oprel.server.pool.manager import ModelManager

router = APIRouter(prefix="/v1")

READ = ["GET", "HEAD"]


@router.post("/chat/completions")
async def chat_completions(request: Request) -> Response:
    asked = await decode.body(request, ChatCompletionRequest)
    model = await decode.model(request, decode.required(asked.model))
    pieces = completions.run(state_of(request).manager, openai_decode.chat_job(asked, model))
    if asked.stream:
        return streamed(pieces, openai_encode.ChatStream(asked.model, asked.stream_options.include_usage))
    return whole(pieces, lambda chunks, done: openai_encode.chat_completion(asked.model, chunks, done))


@router.post("/completions")
async def text_completions(request: Request) -> Response:
    asked = await decode.body(request, TextCompletionRequest)
    model = await decode.model(request, decode.required(asked.model))
    jobs, echoes = openai_decode.text_jobs(asked, model), _echoes(asked)
    pieces = _one_after_another(state_of(request).manager, jobs)
    if asked.stream:
        return streamed(pieces, openai_encode.TextStream(asked.model, asked.stream_options.include_usage, echoes))
    return whole(pieces, lambda chunks, done: openai_encode.text_completion(asked.model, chunks, done, echoes))


def _echoes(asked: TextCompletionRequest) -> dict[int, str]:
    texts = [prompt for prompt in openai_decode.prompts_of(asked) for _ in range(asked.n)]
    return {at: text for at, text in enumerate(texts) if asked.echo and isinstance(text, str)}


async def _one_after_another(manager: ModelManager, jobs: Sequence[Job]) -> AsyncGenerator[Piece, None]:
    """The answers of all jobs as those of one, with their indexes behind each other and their usage added up."""
    ends: list[Done] = []
    for job in jobs:
        first = sum(len(done.finishes) for done in ends)
        async with aclosing(completions.run(manager, job)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Done):
                    ends.append(piece)
                else:
                    yield piece if isinstance(piece, Truncation) else replace(piece, index=piece.index + first)
    finishes = tuple(finish for done in ends for finish in done.finishes)
    recoveries = sum(done.recoveries for done in ends)
    yield replace(ends[-1], finishes=finishes, usage=_sum([done.usage for done in ends]), recoveries=recoveries)


def _sum(usages: Sequence[Usage]) -> Usage:
    return Usage(**{name: sum(getattr(usage, name) for usage in usages) for name in vars(usages[0])})


@router.post("/embeddings")
async def embed(request: Request) -> Response:
    asked = await decode.body(request, EmbeddingRequest)
    if asked.encoding_format not in ("float", "base64"):
        raise ValidationError(f"invalid encoding_format: {asked.encoding_format!r}", "Use float or base64.")
    inputs = _inputs(asked)
    model = await decode.model(request, decode.required(asked.model))
    for one in inputs:
        if not isinstance(one, str):
            decode.tokens(one, model)
    _, load = decode.options(asked.options, model.manifest)
    job = EmbedJob(model, inputs, load, decode.keep_alive(asked.keep_alive), asked.truncate)

    async def parts() -> AsyncGenerator[bytes, None]:
        result, _ = await embeddings.embed(state_of(request).manager, job)
        found = [normalised(one, asked.dimensions) for one in result.vectors]
        data = [
            {"object": "embedding", "index": at, "embedding": openai_encode.vector(one, asked.encoding_format)}
            for at, one in enumerate(found)
        ]
        yield _listed(asked.model, "data", data, result.prompt_tokens)

    return StreamingReply(parts(), JSON)


def _inputs(asked: EmbeddingRequest) -> tuple[str | tuple[int, ...], ...]:
    given = asked.input
    if not given:
        raise ValidationError("invalid input", "`input` takes a text, tokens, or a list of either.")
    if isinstance(given, str):
        return (given,)
    tokens = tuple(one for one in given if isinstance(one, int))
    return (tokens,) if tokens else tuple(one if isinstance(one, str) else tuple(one) for one in given)  # type: ignore[arg-type]


@router.post("/rerank")
async def rerank(request: Request) -> Response:
    asked = await decode.body(request, RerankRequest)
    texts = tuple(one if isinstance(one, str) else one.text for one in asked.documents)
    if not asked.query or not texts:
        raise ValidationError("rerank needs a `query` and `documents`")
    if asked.top_n is not None and asked.top_n < 1:
        raise ValidationError("top_n must be at least 1")
    model = await decode.model(request, decode.required(asked.model))
    _, load = decode.options(asked.options, model.manifest)
    job = RerankJob(model, asked.query, texts, load, decode.keep_alive(asked.keep_alive))

    async def parts() -> AsyncGenerator[bytes, None]:
        scores = await embeddings.rerank(state_of(request).manager, job)
        best = sorted(range(len(texts)), key=lambda at: scores.values[at], reverse=True)[: asked.top_n]
        results = [
            {"index": at, "relevance_score": scores.values[at]}
            | ({"document": {"text": texts[at]}} if asked.return_documents else {})
            for at in best
        ]
        yield _listed(asked.model, "results", results, scores.prompt_tokens)

    return StreamingReply(parts(), JSON)


def _listed(model: str, name: str, items: Sequence[object], prompt_tokens: int) -> bytes:
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return orjson.dumps({"object": "list", "model": model, name: items, "usage": usage})


@router.api_route("/models", methods=READ)
async def models(request: Request) -> Response:
    found = await state_of(request).library.all()
    return _json({"object": "list", "data": [_model(model) for model in found]})


@router.api_route("/models/{name:path}", methods=READ)
async def one_model(request: Request, name: str) -> Response:
    model = await decode.model(request, name)
    return _json({**_model(model), "id": name})


def _model(model: InstalledModel) -> dict[str, JsonValue]:
    *_, namespace, _ = ("", "library", *model.name.split("/"))
    return {"id": model.name, "object": "model", "created": int(model.changed.timestamp()), "owned_by": namespace}


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type=JSON)
