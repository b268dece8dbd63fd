"""Ollama's API as codecs around the one completions path."""

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import JsonValue

from oprel import __version__
from oprel import api_models as wire
from oprel.core.completion import Chunk, Mode, Prompt, PromptMessage
from oprel.core.exceptions import ModelNotFoundError, NoEngineError, ValidationError
from oprel.core.names import ModelRef, is_path
from oprel.formats.gguf import read_gguf
from oprel.formats.templates.go_template import is_jinja
from oprel.runtime.supervisor.process import EngineState
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import (
    details,
    json_response,
    logprobs,
    normalised,
    running_model,
    shown,
    tool_calls,
)
from oprel.server.api.common.streaming import once
from oprel.server.api.ollama.ndjson import answer
from oprel.server.api.ollama.templates import render
from oprel.server.inference import completions, embeddings
from oprel.server.inference.completions import Job
from oprel.server.inference.embeddings import EmbedJob
from oprel.server.models.library import InstalledModel
from oprel.utils.text import timestamp

router = APIRouter()

READ = ["GET", "HEAD"]
COPILOT = "GitHubCopilotChat/"  # takes `general.basename` for the name to ask for


@router.api_route("/", methods=READ)
async def root() -> Response:
    return PlainTextResponse("Ollama is running")  # the text that clients of Ollama look for


@router.api_route("/api/version", methods=READ)
async def version() -> Response:
    return json_response(wire.VersionResponse(version=__version__))


@router.api_route("/api/tags", methods=READ)
async def tags(request: Request) -> Response:
    models = await state_of(request).library.all()
    listed = [
        wire.ListedModel(
            name=model.name,
            model=model.name,
            modified_at=model.changed.isoformat(),
            size=model.size_bytes,
            digest=model.digest,
            details=details(model),
            capabilities=model.capabilities,
            source=model.source,
        )
        for model in models
    ]
    return json_response(wire.OllamaListResponse(models=listed))


@router.api_route("/api/ps", methods=READ)
async def ps(request: Request) -> Response:
    manager = state_of(request).manager
    running = [one for one in manager.loaded if one.process.state in (EngineState.STARTING, EngineState.READY)]
    loaded = sorted(running, key=lambda one: one.expires_at, reverse=True)
    return json_response(wire.OllamaProcessResponse(models=[running_model(one, manager.clock()) for one in loaded]))


@router.post("/api/show")
async def show(request: Request) -> Response:
    asked = await decode.body(request, wire.ShowRequest)
    model = await decode.model(request, _with_tag(decode.required(asked.model)))
    path = model.manifest.projector
    projector = await anyio.to_thread.run_sync(read_gguf, path) if path else None
    reply = shown(model, verbose=asked.verbose, projector=projector)
    reply.plan = await _plan(request, model)
    if request.headers.get("user-agent", "").startswith(COPILOT):
        reply.model_info["general.basename"] = asked.model
    return json_response(reply)


async def _plan(request: Request, model: InstalledModel) -> dict[str, JsonValue] | None:
    """How it would be run. The command has paths, which are for this machine's own user."""
    manager = state_of(request).manager
    try:
        found = await manager.launches.told(model, manager.loaded)
    except NoEngineError:
        return None
    return found.model_dump(mode="json", exclude=set() if decode.is_own_user(request) else {"command"})


@router.post("/api/generate")
async def generate(request: Request) -> Response:
    asked = await decode.body(request, wire.GenerateRequest)
    model = await decode.model(request, asked.model)
    if not asked.prompt and decode.keep_alive(asked.keep_alive) == 0:
        return await _unload(request, model, wire.GenerateResponse(model=asked.model))
    if asked.raw and (asked.template or asked.system or asked.context):
        raise ValidationError("raw mode does not support template, system, or context")
    decode.refuse_unsupported(model, asked.model, "generate", tools=False, images=bool(asked.images))
    if is_jinja(asked.template) and not decode.is_own_user(request):
        raise ValidationError("Jinja templates are for this machine's own user", "Send a Go template, as for Ollama.")
    job = decode.job(asked, model, _prompt(asked, model), context=None if asked.raw else asked.context)
    if not asked.prompt:
        return _load(request, job, wire.GenerateResponse(model=asked.model))
    if asked.debug_render_only:
        return _rendered(request, job, wire.GenerateResponse(model=asked.model))

    def encode(chunk: Chunk) -> wire.GenerateResponse:
        return wire.GenerateResponse(
            model=asked.model,
            created_at=timestamp(),
            response=chunk.text,
            thinking=chunk.reasoning or None,
            logprobs=logprobs(chunk.logprobs),
        )

    return answer(state_of(request).manager, job, asked.stream, encode)


@router.post("/api/chat")
async def chat(request: Request) -> Response:
    asked = await decode.body(request, wire.ChatRequest)
    model = await decode.model(request, decode.required(asked.model))
    empty = wire.OllamaChatResponse(model=asked.model, message=wire.OllamaMessage(role="assistant", content=""))
    if not asked.messages and decode.keep_alive(asked.keep_alive) == 0:
        return await _unload(request, model, empty)
    images = any(message.images for message in asked.messages)
    decode.refuse_unsupported(model, asked.model, "chat", tools=bool(asked.tools), images=images)
    prompt = decode.with_system(None, decode.messages(asked.messages), model)
    job = decode.job(asked, model, prompt, tools=asked.tools, tool_choice=asked.tool_choice)
    if not asked.messages:
        return _load(request, job, empty)
    if asked.debug_render_only:
        return _rendered(request, job, empty)

    def encode(chunk: Chunk) -> wire.OllamaChatResponse:
        message = wire.OllamaMessage(
            role="assistant", content=chunk.text, thinking=chunk.reasoning or None, tool_calls=tool_calls(chunk)
        )
        return wire.OllamaChatResponse(
            model=asked.model, created_at=timestamp(), message=message, logprobs=logprobs(chunk.logprobs)
        )

    return answer(state_of(request).manager, job, asked.stream, encode)


@router.post("/api/embed")
async def embed(request: Request) -> Response:
    asked = await decode.body(request, wire.EmbedRequest)
    job = await _embed_job(request, asked, _inputs(asked), truncate=asked.truncate)
    manager = state_of(request).manager

    async def make() -> wire.EmbedResponse:
        began = manager.clock()
        result, load_ns = await embeddings.embed(manager, job)
        return wire.EmbedResponse(
            model=asked.model,
            embeddings=[normalised(vector, asked.dimensions) for vector in result.vectors],
            total_duration=round((manager.clock() - began) * 1e9) if job.inputs else None,
            load_duration=load_ns if job.inputs else None,
            prompt_eval_count=result.prompt_tokens or None,
        )

    return once(make)


@router.post("/api/embeddings")
async def embed_one(request: Request) -> Response:
    asked = await decode.body(request, wire.EmbeddingsRequest)
    decode.required(asked.model)
    job = await _embed_job(request, asked, (asked.prompt,) if asked.prompt else (), truncate=True)

    async def make() -> wire.EmbeddingsResponse:
        result, _ = await embeddings.embed(state_of(request).manager, job)
        return wire.EmbeddingsResponse(embedding=result.vectors[0] if result.vectors else ())

    return once(make)


def _with_tag(name: str) -> str:
    """The name as this one route tells it: whole."""
    try:
        return name if is_path(name) else ModelRef.parse(name).text
    except ValidationError:
        return name


def _prompt(asked: wire.GenerateRequest, model: InstalledModel) -> Prompt:
    """What a generate request means: text as it is, a gap to fill, or a user's message behind the model's own."""
    if asked.images and (asked.raw or asked.suffix or asked.template or asked.context):
        raise ValidationError("images go with the model's own template only", "Leave the other out, or use /api/chat.")
    if asked.suffix:
        return decode.fill_in_the_middle(asked.prompt, asked.suffix, model)
    if asked.raw:
        return asked.prompt
    message = PromptMessage("user", asked.prompt, images=decode.images(asked.images))
    if asked.context:  # the model's own messages are in it
        return (*([PromptMessage("system", asked.system)] if asked.system else []), message)
    messages = decode.with_system(asked.system, [message], model)
    return render(asked.template, messages) if asked.template else messages


Loaded = wire.GenerateResponse | wire.OllamaChatResponse


async def _unload(request: Request, model: InstalledModel, reply: Loaded) -> Response:
    await state_of(request).manager.unload(model)
    return json_response(reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "unload"}))


def _load(request: Request, job: Job, reply: Loaded) -> Response:
    async def make() -> Loaded:
        await completions.load(state_of(request).manager, job, Mode.COMPLETION)
        return reply.model_copy(update={"created_at": timestamp(), "done": True, "done_reason": "load"})

    return once(make)


def _rendered(request: Request, job: Job, reply: Loaded) -> Response:
    """The prompt as the model would get it, and no answer."""
    images = sum(len(message.images) for message in job.request.prompt) if isinstance(job.request.prompt, tuple) else 0

    async def make() -> Loaded:
        text = await completions.render(state_of(request).manager, job)
        told = wire.DebugInfo(rendered_template=text, image_count=images)
        return reply.model_copy(update={"created_at": timestamp(), "debug_info": told})

    return once(make)


def _inputs(asked: wire.EmbedRequest) -> tuple[str, ...]:
    texts = [asked.input] if isinstance(asked.input, str) else [] if asked.input is None else asked.input
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValidationError("invalid input type")
    return tuple(str(text) for text in texts) if texts != [""] else ()


async def _embed_job(
    request: Request, asked: wire.ModelRequest, inputs: tuple[str, ...], *, truncate: bool
) -> EmbedJob:
    try:
        model = await decode.model(request, asked.model)
    except ModelNotFoundError as error:
        if not asked.model:
            raise
        words = f'model "{asked.model}" not found, try pulling it first'
        raise ModelNotFoundError(words, *error.resolution_steps) from None
    _, load = decode.options(asked.options, model.manifest)
    return EmbedJob(model, inputs, load, decode.keep_alive(asked.keep_alive), truncate)
