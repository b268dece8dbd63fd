"""oprel's own API: health, engines, loading and unloading, and answers in a stored conversation."""

import os
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from fastapi import Request, Response

from oprel import __version__
from oprel import api_models as wire
from oprel.core.completion import Chunk, CompletionRequest, PromptMessage
from oprel.core.configuration import installation
from oprel.core.exceptions import ForbiddenError, ValidationError
from oprel.server.access.caller import AccessLevel
from oprel.server.access.identify import caller_of
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_response, logprobs
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ignored import ignore
from oprel.server.api.common.ndjson import NdjsonEncoder, ndjson_reply
from oprel.server.api.common.streaming import progress_reply
from oprel.server.api.oprel.errors import encode_error
from oprel.server.api.oprel.fetching import fetched
from oprel.server.api.oprel.monitoring.engine_rows import engine_row, waiting_row
from oprel.server.api.visible_models import is_visible, visible_statuses
from oprel.server.inference import completions
from oprel.server.inference.completions import Piece
from oprel.server.inference.jobs import Job
from oprel.server.models.installed_model import InstalledModel
from oprel.server.pool.engine_status import EngineStatus
from oprel.server.pool.manager import ModelManager
from oprel.utils.text import timestamp
from oprel.wire import daemon as daemon_wire

public = dialect_router(encode_error, access=AccessLevel.ANYONE)
router = dialect_router(encode_error, access=AccessLevel.INFERENCE)

READ = ["GET", "HEAD"]
OWN_CONVERSATIONS = "Send a key of your own, or the whole conversation to /api/chat."


@public.api_route("/health", methods=READ)
async def health(request: Request) -> Response:
    state = state_of(request)
    status = "draining" if state.manager.draining else "ok"
    if caller_of(request).access < AccessLevel.INFERENCE:
        return json_response(daemon_wire.Liveness(status=status, version=__version__))
    binaries = state.manager.binaries
    aside = [daemon_wire.AsideEngine(engine=str(engine.binary), reason=engine.reason) for engine in binaries.aside]
    return json_response(
        daemon_wire.HealthResponse(
            status=status,
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=round(time.monotonic() - state.started, 3),
            engines=[str(binary) for binary in binaries.usable],
            engines_set_aside=aside,
            warnings=_warnings(state.manager),
        )
    )


def _warnings(manager: ModelManager) -> list[str]:
    """Of the installation; and of llama.cpp, unless all that is loaded runs on other engines."""
    loaded = manager.loaded
    of_engine = manager.planning.warnings if not loaded or any(each.model.is_gguf for each in loaded) else []
    return [*installation.advice(), *of_engine]


@router.api_route("/models", methods=READ)
async def models(request: Request) -> Response:
    manager = state_of(request).manager
    reply = daemon_wire.ModelsResponse(
        models=[_row(request, status) for status in visible_statuses(request)],
        waiting=[waiting_row(model) for model in manager.admission.waiting if is_visible(request, [model.name])],
        budget_bytes=manager.admission.budget.total,
        host_bytes=manager.planning.machine.host,
        gpu_bytes=[*manager.planning.machine.devices],
        memory_limits=[*manager.planning.machine.limits],
    )
    return json_response(reply, nulls=True)


def _row(request: Request, status: EngineStatus) -> daemon_wire.EngineModel:
    """Where it is, only for those who may name files."""
    row = engine_row(status)
    nowhere = {"path": "", "address": "", "pid": None, "engine": None}
    return row if decode.is_own_user(request) else row.model_copy(update=nowhere)


@router.post("/load")
async def load(request: Request) -> Response:
    body = await decode.parse_body(request, wire.LoadRequest)
    name, keep_alive = decode.required(body.model), decode.keep_alive(body.keep_alive)

    async def steps() -> AsyncGenerator[wire.LoadResponse, None]:
        async with aclosing(fetched(request, name, fetch=body.fetch)) as fetching:
            async for step in fetching:
                yield wire.LoadResponse(model=name, state="fetching", **step.model_dump(exclude_none=True))
        model = await decode.model(request, name)
        _, options = decode.options(body.options, model.conventions.parameters)
        job = Job(model=model, request=CompletionRequest(prompt=""), load=options, keep_alive=keep_alive)
        load_ns = await completions.load(state_of(request).manager, job, model.usual_mode)
        yield wire.LoadResponse(model=name, state="ready", load_duration=load_ns)

    return progress_reply(steps(), stream=body.stream)


@router.post("/unload")
async def unload(request: Request) -> Response:
    body = await decode.parse_body(request, wire.UnloadRequest)
    model = await decode.model_to_unload(request, decode.required(body.model))
    unloaded = await state_of(request).manager.unload(model)
    in_flight = sum(loaded.leases for loaded in unloaded)
    return json_response(wire.UnloadResponse(model=body.model, unloaded=bool(unloaded), in_flight=in_flight))


@router.post("/generate")
async def generate(request: Request) -> Response:
    """Answer a prompt after the conversation so far. A complete answer is stored with its prompt, for its caller."""
    body = await decode.parse_body(request, wire.ConversationRequest)
    state, name = state_of(request), decode.required(body.model)
    if not body.prompt:
        raise ValidationError("prompt is required", "`POST /load` loads a model without asking it anything.")
    owner = caller_of(request).owner
    if body.conversation_id and owner is None:
        raise ForbiddenError("conversations are kept for callers who can be told apart", OWN_CONVERSATIONS)
    conversation = body.conversation_id or str(uuid.uuid4())
    new: list[PromptMessage] = []

    async def pieces() -> AsyncGenerator[Piece, None]:
        async with aclosing(fetched(request, name, fetch=body.fetch)) as steps:
            async for _ in steps:
                pass
        model = await decode.model(request, name)
        decode.refuse_unsupported(model, name, "generate", images=False)
        past = () if owner is None else state.conversations.messages(owner, conversation)
        new.extend(_new_messages(body, past, model))
        job = await decode.apart(request, lambda: decode.job(body, model, _in_order(past, new)))
        ignore(request, ["think"] if decode.unheeded(body.think, model) else [])
        async with aclosing(completions.run(state.manager, job)) as answer:
            async for piece in answer:
                yield piece

    def encode(chunk: Chunk) -> wire.ConversationResponse:
        return wire.ConversationResponse(
            model=body.model,
            created_at=timestamp(),
            response=chunk.text,
            thinking=chunk.reasoning or None,
            logprobs=logprobs(chunk.logprobs),
            conversation_id=conversation,
        )

    def remember(text: str) -> dict[str, object]:
        messages = (*new, PromptMessage("assistant", text))
        kept = owner is not None and state.conversations.append(owner, conversation, *messages)
        return {} if kept else {"remembered": False}

    return ndjson_reply(pieces(), NdjsonEncoder(encode, encode_error, remember), stream=body.stream)


def _new_messages(
    body: wire.ConversationRequest, past: Sequence[PromptMessage], model: InstalledModel
) -> list[PromptMessage]:
    """The prompt, after a system message if there is a new one; the model's own begins a conversation."""
    system = body.system_prompt if past or body.system_prompt is not None else model.manifest.system
    return [*([PromptMessage("system", system)] if system else []), PromptMessage("user", body.prompt)]


def _in_order(past: Sequence[PromptMessage], new: Sequence[PromptMessage]) -> tuple[PromptMessage, ...]:
    """The conversation with its newest system message first, where templates expect it."""
    everything = (*past, *new)
    systems = [message for message in everything if message.role == "system"]
    return (*systems[-1:], *(message for message in everything if message.role != "system"))
