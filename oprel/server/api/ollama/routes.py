"""Ollama's API as codecs around the shared completions path."""

import hashlib
from dataclasses import replace
from datetime import datetime

import anyio.to_thread
from fastapi import Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import JsonValue

from oprel import __version__
from oprel import api_models as wire
from oprel.core.completion import Chunk, Mode, Prompt, PromptMessage
from oprel.core.exceptions import ModelAwayError, ModelNotFoundError, NoEngineError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.core.names import is_path
from oprel.formats.gguf import read_gguf
from oprel.formats.templates.go_template import is_jinja
from oprel.formats.templates.request_template import rendered
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import (
    details,
    embedding,
    json_bytes,
    json_response,
    listed,
    logprobs,
    running_model,
    scaled,
    show_response,
    tool_calls,
)
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ignored import ignore
from oprel.server.api.common.ndjson import NdjsonEncoder, ndjson_reply
from oprel.server.api.common.streaming import embedding_reply, object_reply
from oprel.server.api.ollama.errors import encode_error
from oprel.server.api.visible_models import survey, visible_statuses
from oprel.server.inference import completions, embeddings
from oprel.server.inference.embeddings import EmbedJob
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel, with_every_array
from oprel.server.models.summaries import ModelList, ModelSummary
from oprel.utils.text import timestamp

public = dialect_router(encode_error, access=AccessLevel.ANYONE)
router = dialect_router(encode_error, access=AccessLevel.INFERENCE)

READ = ["GET", "HEAD"]
# The release of Ollama whose API these routes speak: its `prompt_eval_cached_count` came with 0.34. Clients refuse a
# server that they think too old, as Codex does below 0.13.4.
OLLAMA_LEVEL = "0.34.1"
COPILOT = "GitHubCopilotChat/"  # uses `general.basename` as the model's name in its requests


@public.api_route("/", methods=READ)
async def root() -> Response:
    return PlainTextResponse("Ollama is running")  # clients of Ollama check for this text


@router.api_route("/api/status", methods=READ)
async def status() -> Response:
    return json_response(wire.CloudStatusResponse())


@router.api_route("/api/version", methods=READ)
async def version() -> Response:
    return json_response(wire.VersionResponse(version=OLLAMA_LEVEL, oprel=__version__))


@router.api_route("/api/tags", methods=READ)
async def tags(request: Request) -> Response:
    def reply(models: ModelList) -> Response:
        away = [_away(manifest, error) for manifest, error in models.faults if isinstance(error, ModelAwayError)]
        return listed(models, _tag, b'{"models":[%b]}', away)

    return await survey(request, reply)


def _tag(model: ModelSummary) -> bytes:
    return json_bytes(
        wire.ListedModel(
            name=model.name,
            model=model.name,
            modified_at=model.changed.isoformat(),
            size=model.size_bytes,
            digest=model.digest,
            details=details(model),
            capabilities=list(model.capabilities),
            source=model.source,
            away=None,
            aliases=list(model.manifest.also) or None,
        )
    )


def _away(manifest: Manifest, error: ModelAwayError) -> bytes:
    return json_bytes(
        wire.ListedModel(
            name=manifest.name,
            model=manifest.name,
            modified_at=datetime.fromtimestamp(manifest.written).astimezone().isoformat(),
            size=0,
            digest=hashlib.sha256(manifest.name.encode()).hexdigest(),
            details=wire.ModelDetails(),
            source=manifest.source or manifest.provider,
            away=error.folder,
        )
    )


@router.api_route("/api/ps", methods=READ)
async def ps(request: Request) -> Response:
    running = [status for status in visible_statuses(request) if status.is_running]
    running.sort(key=lambda status: status.expires_at, reverse=True)
    return json_response(wire.OllamaProcessResponse(models=[running_model(status) for status in running]))


@router.post("/api/show")
async def show(request: Request) -> Response:
    body = await decode.parse_body(request, wire.ShowRequest)
    model = await decode.model(request, _shown_name(decode.required(body.model)))
    if body.verbose:
        model = await anyio.to_thread.run_sync(with_every_array, model)
    path = model.manifest.projector
    projector = await anyio.to_thread.run_sync(read_gguf, path) if path else None
    own = decode.is_own_user(request)
    reply = show_response(model, verbose=body.verbose, shows_paths=own, projector=projector)
    reply.plan = await _plan(request, model)
    if request.headers.get("user-agent", "").startswith(COPILOT):
        reply.model_info["general.basename"] = body.model
    return json_response(reply)


async def _plan(request: Request, model: InstalledModel) -> dict[str, JsonValue] | None:
    """How it would run. Only this machine's own user gets the command, as it contains paths."""
    manager = state_of(request).manager
    try:
        plan = await manager.launcher.preview(model, manager.loaded)
    except NoEngineError:
        return None
    return plan.model_dump(mode="json", exclude=set() if decode.is_own_user(request) else {"command"})


@router.post("/api/generate")
async def generate(request: Request) -> Response:
    body = await decode.parse_body(request, wire.GenerateRequest)
    if not body.prompt and decode.keep_alive(body.keep_alive) == 0:
        return await _unload(request, body.model, _unloaded(wire.GenerateResponse(model=body.model)))
    model = await decode.model(request, body.model)
    if body.raw and (body.template or body.system or body.context):
        raise ValidationError("raw mode does not support template, system, or context")
    decode.refuse_unsupported(model, body.model, "generate", images=bool(body.images))
    if is_jinja(body.template) and not decode.is_own_user(request):
        raise ValidationError("Jinja templates are for this machine's own user", "Send a Go template, as for Ollama.")
    prompt, context = await _prompt(request, body, model), None if body.raw else body.context
    job = await decode.apart(request, lambda: decode.job(body, model, prompt, context=context))
    ignore(request, ["think"] if decode.unheeded(body.think, model) else [])
    if not body.prompt:
        return _load(request, job, wire.GenerateResponse(model=body.model))
    if body.debug_render_only:
        return _rendered(request, job, wire.GenerateResponse(model=body.model))

    def encode(chunk: Chunk) -> wire.GenerateResponse:
        return wire.GenerateResponse(
            model=body.model,
            created_at=timestamp(),
            response=chunk.text,
            thinking=chunk.reasoning or None,
            logprobs=logprobs(chunk.logprobs),
            base_model=model.is_base or None,
        )

    return _answer(request, job, NdjsonEncoder(encode, encode_error), stream=body.stream)


@router.post("/api/chat")
async def chat(request: Request) -> Response:
    body = await decode.parse_body(request, wire.ChatRequest)
    name = decode.required(body.model)
    empty = wire.OllamaChatResponse(model=name, message=wire.OllamaMessage(role="assistant", content=""))
    if not body.messages and decode.keep_alive(body.keep_alive) == 0:
        return await _unload(request, name, _unloaded(empty))
    model = await decode.model(request, name)
    images = any(message.images for message in body.messages)
    decode.refuse_unsupported(model, body.model, "chat", images=images)
    job = await decode.apart(request, lambda: _chat_job(body, model))
    ignore(request, ["think"] if decode.unheeded(body.think, model) else [])
    if not body.messages:
        return _load(request, job, empty)
    if body.debug_render_only:
        return _rendered(request, job, empty)

    def encode(chunk: Chunk) -> wire.OllamaChatResponse:
        message = wire.OllamaMessage(
            role="assistant", content=chunk.text, thinking=chunk.reasoning or None, tool_calls=tool_calls(chunk)
        )
        return wire.OllamaChatResponse(
            model=body.model, created_at=timestamp(), message=message, logprobs=logprobs(chunk.logprobs)
        )

    return _answer(request, job, NdjsonEncoder(encode, encode_error), stream=body.stream)


def _chat_job(body: wire.ChatRequest, model: InstalledModel) -> Job:
    prompt = decode.with_system("", decode.messages(body.messages), model)
    return decode.job(body, model, prompt, tools=body.tools, tool_choice=body.tool_choice or None)


def _answer(request: Request, job: Job, encoder: NdjsonEncoder, *, stream: bool) -> Response:
    return ndjson_reply(completions.run(state_of(request).manager, job), encoder, stream=stream)


@router.post("/api/embed")
async def embed(request: Request) -> Response:
    body = await decode.parse_body(request, wire.EmbedRequest)
    if not _inputs(body) and decode.keep_alive(body.keep_alive) == 0:
        return await _unload(request, body.model, wire.EmbedResponse(model=body.model, embeddings=[]))
    job = await _embed_job(request, body, _inputs(body), truncate=body.truncate)
    job = replace(job, input_type=body.input_type, normalised=body.normalize)
    manager = state_of(request).manager

    async def make() -> wire.EmbedResponse:
        began = manager.clock()
        result, load_ns = await embeddings.embed(manager, job)
        return wire.EmbedResponse(
            model=body.model,
            embeddings=[embedding(vector, body.dimensions, normalised=body.normalize) for vector in result.vectors],
            total_duration=round((manager.clock() - began) * 1e9) if job.inputs else None,
            load_duration=load_ns if job.inputs else None,
            prompt_eval_count=result.prompt_tokens or None,
        )

    return embedding_reply(request, job, object_reply(make))


@router.post("/api/embeddings")
async def embed_one(request: Request) -> Response:
    body = await decode.parse_body(request, wire.EmbeddingsRequest)
    decode.required(body.model)
    if not body.prompt and decode.keep_alive(body.keep_alive) == 0:
        return await _unload(request, body.model, wire.EmbeddingsResponse(embedding=()))
    job = await _embed_job(request, body, (body.prompt,) if body.prompt else (), truncate=True)

    async def make() -> wire.EmbeddingsResponse:
        result, _ = await embeddings.embed(state_of(request).manager, job)
        return wire.EmbeddingsResponse(embedding=scaled(result.vectors[0], 0) if result.vectors else ())

    return embedding_reply(request, job, object_reply(make))


def _shown_name(name: str) -> str:
    """The complete name, as this route reports it. Raises ValidationError for what is no name, as Ollama does."""
    return name if is_path(name) else decode.model_name(name, "invalid model name").name


async def _prompt(request: Request, body: wire.GenerateRequest, model: InstalledModel) -> Prompt:
    """The prompt: raw text, a gap to fill, a text to continue, or a user's message after the model's messages."""
    if body.images and (body.raw or body.suffix or body.template or body.context):
        raise ValidationError("images go with the model's own template only", "Omit the other field, or use /api/chat.")
    if body.suffix:
        return decode.fill_in_the_middle(body.prompt, body.suffix, model)
    if body.raw:
        return body.prompt
    if body.context and model.is_base:
        return decode.continued(body.prompt, body.system)
    images = await decode.apart(request, lambda: decode.images(body.images))
    message = PromptMessage("user", body.prompt, images=images)
    if body.context:  # it contains the model's messages
        return (*([PromptMessage("system", body.system)] if body.system else []), message)
    if not (body.template or body.images):
        return decode.prompt_of(body.prompt, body.system, model)
    messages = decode.with_system(body.system, [message], model)
    return await rendered(body.template, messages) if body.template else messages


Loaded = wire.GenerateResponse | wire.OllamaChatResponse


async def _unload(request: Request, model: str, reply: wire.Wire) -> Response:
    await state_of(request).manager.unload(await decode.model_to_unload(request, model))
    return json_response(reply)


def _unloaded(reply: Loaded) -> Loaded:
    return reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "unload"})


def _load(request: Request, job: Job, reply: Loaded) -> Response:
    async def make() -> Loaded:
        await completions.load(state_of(request).manager, job, Mode.COMPLETION)
        return reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "load"})

    return object_reply(make)


def _rendered(request: Request, job: Job, reply: Loaded) -> Response:
    """The prompt as the model would get it, without an answer."""
    images = sum(len(message.images) for message in job.request.prompt) if isinstance(job.request.prompt, tuple) else 0

    async def make() -> Loaded:
        text = await completions.render(state_of(request).manager, job)
        debug_info = wire.DebugInfo(rendered_template=text, image_count=images)
        return reply.model_copy(update={"created_at": timestamp(), "debug_info": debug_info})

    return object_reply(make)


def _inputs(body: wire.EmbedRequest) -> tuple[str, ...]:
    if body.input in (None, "", []):
        return ()
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValidationError("invalid input type")
    return tuple(str(text) for text in texts)


async def _embed_job(request: Request, body: wire.ModelRequest, inputs: tuple[str, ...], *, truncate: bool) -> EmbedJob:
    try:
        model = await decode.model(request, body.model)
    except ModelNotFoundError as error:
        if not body.model:
            raise
        message = f'model "{body.model}" not found, try pulling it first'
        raise ModelNotFoundError(message, *error.resolution_steps) from None
    _, load = decode.options(body.options, model.conventions.parameters)
    keep_alive = decode.keep_alive(body.keep_alive)
    return EmbedJob(model=model, inputs=inputs, load=load, keep_alive=keep_alive, truncate=truncate)
