"""Ollama's API as codecs around the one completions path."""

import logging
from collections.abc import AsyncGenerator, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from oprel import __version__
from oprel import api_models as wire
from oprel.core.exceptions import ModelNotFoundError, UnsupportedError, ValidationError
from oprel.runtime.backends.base import Chunk, CompletionRequest, Message
from oprel.server import completions
from oprel.server.completions import Done, EmbedJob, Job
from oprel.server.library import InstalledModel
from oprel.server.reply import JSON, NDJSON, Reply
from oprel.server.routes import decode
from oprel.server.routes.encode import details, json_bytes, metrics, normalised, running_model, shown
from oprel.server.state import Daemon, daemon_of
from oprel.utils.text import timestamp

logger = logging.getLogger(__name__)
router = APIRouter()

READ = ["GET", "HEAD"]


@router.api_route("/", methods=READ)
async def root() -> Response:
    return PlainTextResponse("Ollama is running")  # the text that clients of Ollama look for


@router.api_route("/api/version", methods=READ)
async def version() -> Response:
    return _json(wire.VersionResponse(version=__version__))


@router.api_route("/api/tags", methods=READ)
async def tags(request: Request) -> Response:
    models = await daemon_of(request).library.all()
    listed = [
        wire.ListedModel(
            name=model.name,
            model=model.name,
            modified_at=model.modified.isoformat(),
            size=model.header.size_bytes,
            digest=model.digest,
            details=details(model),
            capabilities=model.capabilities,
        )
        for model in models
    ]
    return _json(wire.ListResponse(models=listed))


@router.api_route("/api/ps", methods=READ)
async def ps(request: Request) -> Response:
    manager = daemon_of(request).manager
    loaded = sorted(manager.loaded, key=lambda one: one.expires_at, reverse=True)
    return _json(wire.ProcessResponse(models=[running_model(one, manager.clock()) for one in loaded]))


@router.post("/api/show")
async def show(request: Request) -> Response:
    asked = await decode.body(request, wire.ShowRequest)
    if not asked.model:
        raise ValidationError("model is required")
    return _json(shown(await _find(request, asked.model), verbose=asked.verbose))


@router.post("/api/generate")
async def generate(request: Request) -> Response:
    asked = await decode.body(request, wire.GenerateRequest)
    daemon, model = daemon_of(request), await _find(request, asked.model)
    if not asked.prompt and decode.keep_alive(asked.keep_alive) == 0:
        return await _unload(daemon, model, wire.GenerateResponse(model=asked.model))
    if asked.raw and (asked.template or asked.system or asked.context):
        raise ValidationError("raw mode does not support template, system, or context")
    decode.refuse_unsupported(asked, model, "generate")
    prompt = asked.prompt if asked.raw else _with_system(asked.system, [Message("user", asked.prompt)], model)
    job = _job(asked, model, prompt, wants_context=not asked.raw)
    if not asked.prompt:
        return await _load(daemon, job, wire.GenerateResponse(model=asked.model))

    def encode(chunk: Chunk) -> wire.GenerateResponse:
        thinking = chunk.reasoning or None
        return wire.GenerateResponse(model=asked.model, created_at=timestamp(), response=chunk.text, thinking=thinking)

    def finish(whole: Chunk, done: Done) -> wire.GenerateResponse:
        return encode(whole).model_copy(update={**metrics(done), "done": True, "context": done.context})

    return answer(daemon, job, asked.stream, encode, finish)


@router.post("/api/chat")
async def chat(request: Request) -> Response:
    asked = await decode.body(request, wire.ChatRequest)
    if not asked.model:
        raise ValidationError("model is required")
    daemon, model = daemon_of(request), await _find(request, asked.model)
    empty = wire.ChatResponse(model=asked.model, message=wire.Message(role="assistant", content=""))
    if not asked.messages and decode.keep_alive(asked.keep_alive) == 0:
        return await _unload(daemon, model, empty)
    decode.refuse_unsupported(asked, model, "chat")
    job = _job(asked, model, _with_system(None, [_message(message) for message in asked.messages], model))
    if not asked.messages:
        return await _load(daemon, job, empty)

    def encode(chunk: Chunk) -> wire.ChatResponse:
        message = wire.Message(role="assistant", content=chunk.text, thinking=chunk.reasoning or None)
        return wire.ChatResponse(model=asked.model, created_at=timestamp(), message=message)

    def finish(whole: Chunk, done: Done) -> wire.ChatResponse:
        return encode(whole).model_copy(update={**metrics(done), "done": True})

    return answer(daemon, job, asked.stream, encode, finish)


@router.post("/api/embed")
async def embed(request: Request) -> Response:
    asked = await decode.body(request, wire.EmbedRequest)
    inputs = _inputs(asked)
    began = daemon_of(request).manager.clock()
    vectors, tokens, load_ns = await _embed(request, asked, inputs, truncate=asked.truncate)
    spent = round((daemon_of(request).manager.clock() - began) * 1e9)
    reply = wire.EmbedResponse(
        model=asked.model,
        embeddings=[normalised(vector, asked.dimensions) for vector in vectors],
        total_duration=spent if inputs else None,
        load_duration=load_ns if inputs else None,
        prompt_eval_count=tokens or None,
    )
    return _json(reply)


@router.post("/api/embeddings")
async def embeddings(request: Request) -> Response:
    asked = await decode.body(request, wire.EmbeddingsRequest)
    if not asked.model:
        raise ValidationError("model is required")
    vectors, _, _ = await _embed(request, asked, (asked.prompt,) if asked.prompt else (), truncate=True)
    return _json(wire.EmbeddingsResponse(embedding=vectors[0] if vectors else ()))


Encoder = Callable[[Chunk], BaseModel]
Finisher = Callable[[Chunk, Done], BaseModel]


def answer(daemon: Daemon, job: Job, stream: bool, encode: Encoder, finish: Finisher) -> Reply:
    """The answer as NDJSON while it is made, or as one object of all its pieces."""
    if stream:
        return Reply(_lines(daemon, job, encode, finish), NDJSON)
    return Reply(_whole(daemon, job, finish), JSON)


async def _lines(daemon: Daemon, job: Job, encode: Encoder, finish: Finisher) -> AsyncGenerator[bytes, None]:
    async for piece in completions.run(daemon.manager, job):
        yield json_bytes(finish(Chunk(), piece) if isinstance(piece, Done) else encode(piece)) + b"\n"


async def _whole(daemon: Daemon, job: Job, finish: Finisher) -> AsyncGenerator[bytes, None]:
    texts: list[str] = []
    thoughts: list[str] = []
    async for piece in completions.run(daemon.manager, job):
        if isinstance(piece, Done):
            yield json_bytes(finish(Chunk("".join(texts), "".join(thoughts)), piece))
        else:
            texts.append(piece.text)
            thoughts.append(piece.reasoning)


async def _find(request: Request, name: str) -> InstalledModel:
    return await daemon_of(request).library.find(name, may_use_paths=decode.is_own_user(request))


def _job(
    asked: wire.CompletionFields,
    model: InstalledModel,
    prompt: str | tuple[Message, ...],
    *,
    wants_context: bool = False,
) -> Job:
    sampling, load = decode.options(asked.options, model.manifest)
    wanted = decode.think(asked.think, model, asked.model)
    request = CompletionRequest(prompt, sampling, decode.schema(asked.format), wanted)
    return Job(model, request, load, decode.keep_alive(asked.keep_alive), wants_context)


def _message(message: wire.Message) -> Message:
    if message.images or message.tool_calls:
        raise UnsupportedError("this version of oprel does not support images and tool calls in messages")
    return Message(message.role.lower(), message.content, message.thinking or "")


def _with_system(system: str | None, messages: list[Message], model: InstalledModel) -> tuple[Message, ...]:
    """The messages behind the model's own; the request's system message replaces the model's."""
    own = [Message(role, text) for role, text in model.manifest.messages]
    if messages and messages[0].role == "system":
        return (messages[0], *own, *messages[1:])
    text = model.manifest.system if system is None else system
    return (*([Message("system", text)] if text else []), *own, *messages)


async def _unload(daemon: Daemon, model: InstalledModel, reply: wire.GenerateResponse | wire.ChatResponse) -> Response:
    await daemon.manager.unload(model)
    return _json(reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "unload"}))


async def _load(daemon: Daemon, job: Job, reply: wire.GenerateResponse | wire.ChatResponse) -> Response:
    await completions.load(daemon.manager, job)
    return _json(reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "load"}))


def _inputs(asked: wire.EmbedRequest) -> tuple[str, ...]:
    texts = [asked.input] if isinstance(asked.input, str) else asked.input or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValidationError("invalid input type")
    return tuple(str(text) for text in texts) if texts != [""] else ()


async def _embed(
    request: Request, asked: wire.ModelRequest, inputs: tuple[str, ...], *, truncate: bool
) -> tuple[tuple[tuple[float, ...], ...], int, int]:
    """Vectors, tokens and the nanoseconds of loading. Without an input the model is only loaded."""
    manager = daemon_of(request).manager
    try:
        model = await _find(request, asked.model)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f'model "{asked.model}" not found, try pulling it first', *error.resolution_steps
        ) from None
    _, load = decode.options(asked.options, model.manifest)
    alive = decode.keep_alive(asked.keep_alive)
    if not inputs:
        job = Job(model, CompletionRequest(""), load, alive)
        return (), 0, await completions.load(manager, job, embedding=True)
    result, load_ns = await completions.embed(manager, EmbedJob(model, inputs, load, alive, truncate))
    return result.vectors, result.prompt_tokens, load_ns


def _json(reply: BaseModel) -> Response:
    return Response(json_bytes(reply), media_type=JSON)
