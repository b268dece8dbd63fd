"""oprel's own API: health, engines, loading and unloading, and answers in a stored conversation."""

import os
import uuid

from fastapi import Request, Response

from oprel import __version__
from oprel import api_models as wire
from oprel.core.completion import Chunk, CompletionRequest, Mode, PromptMessage
from oprel.core.exceptions import ValidationError
from oprel.runtime.backends.engines.llama_log import Buffers
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import expiry, json_response, logprobs
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.ndjson import NdjsonEncoder, ndjson_reply
from oprel.server.api.common.streaming import object_reply
from oprel.server.api.oprel.errors import encode_error
from oprel.server.inference import completions
from oprel.server.inference.completions import Job
from oprel.server.pool.admission import Waiting
from oprel.server.pool.loaded_model import LoadedModel
from oprel.telemetry.memory.estimator import Estimate
from oprel.utils.text import timestamp
from oprel.wire import daemon as daemon_wire

router = dialect_router(encode_error)

READ = ["GET", "HEAD"]


@router.api_route("/health", methods=READ)
async def health(request: Request) -> Response:
    state = state_of(request)
    binaries = state.manager.shelf
    aside = [daemon_wire.AsideEngine(engine=str(aside.binary), reason=aside.reason) for aside in binaries.aside]
    return json_response(
        daemon_wire.HealthResponse(
            status="draining" if state.manager.draining else "ok",
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=round(state.manager.clock() - state.started, 3),
            engines=[str(binary) for binary in binaries.usable],
            engines_set_aside=aside,
        )
    )


@router.api_route("/models", methods=READ)
async def models(request: Request) -> Response:
    manager = state_of(request).manager
    reply = daemon_wire.ModelsResponse(
        models=[_engine(loaded, manager.clock()) for loaded in manager.loaded],
        waiting=[_waiting(load) for load in manager.room.waiting],
        budget_bytes=manager.room.budget.total,
        host_bytes=manager.planning.machine.host,
        gpu_bytes=[*manager.planning.machine.devices],
    )
    return json_response(reply, nulls=True)


@router.post("/load")
async def load(request: Request) -> Response:
    body = await decode.parse_body(request, wire.LoadRequest)
    model = await decode.model(request, decode.required(body.model))
    _, options = decode.options(body.options, model.manifest)
    keep_alive = decode.keep_alive(body.keep_alive)
    job = Job(model=model, request=CompletionRequest(prompt=""), load=options, keep_alive=keep_alive)

    async def make() -> wire.LoadResponse:
        load_ns = await completions.load(state_of(request).manager, job, model.usual_mode)
        return wire.LoadResponse(model=body.model, state="ready", load_duration=load_ns)

    return object_reply(make)


@router.post("/unload")
async def unload(request: Request) -> Response:
    body = await decode.parse_body(request, wire.UnloadRequest)
    model = await decode.model(request, decode.required(body.model))
    unloaded = await state_of(request).manager.unload(model)
    in_flight = sum(loaded.leases for loaded in unloaded)
    return json_response(wire.UnloadResponse(model=body.model, unloaded=bool(unloaded), in_flight=in_flight))


@router.post("/generate")
async def generate(request: Request) -> Response:
    """Answer a prompt after the conversation so far. A complete answer is stored with its prompt."""
    body = await decode.parse_body(request, wire.ConversationRequest)
    state, model = state_of(request), await decode.model(request, decode.required(body.model))
    decode.refuse_unsupported(model, body.model, "generate", tools=False, images=False)
    if not body.prompt:
        raise ValidationError("prompt is required", "`POST /load` loads a model without asking it anything.")
    conversation = body.conversation_id or str(uuid.uuid4())
    past = state.conversations.messages(conversation)
    system = body.system_prompt if past or body.system_prompt is not None else model.manifest.system
    new = (*([PromptMessage("system", system)] if system else []), PromptMessage("user", body.prompt))

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
        kept = state.conversations.append(conversation, *new, PromptMessage("assistant", text))
        return {} if kept else {"remembered": False}

    job = decode.job(body, model, _in_order(past, new))
    encoder = NdjsonEncoder(encode, encode_error, remember)
    return ndjson_reply(completions.run(state.manager, job), encoder, stream=body.stream)


def _in_order(past: tuple[PromptMessage, ...], new: tuple[PromptMessage, ...]) -> tuple[PromptMessage, ...]:
    """The conversation with its newest system message first, where templates expect it."""
    everything = (*past, *new)
    systems = [message for message in everything if message.role == "system"]
    return (*systems[-1:], *(message for message in everything if message.role != "system"))


def _engine(loaded: LoadedModel, now: float) -> daemon_wire.EngineModel:
    process, slots, last = loaded.process, loaded.slots, loaded.process.last_exit
    return daemon_wire.EngineModel(
        name=loaded.model.name,
        names=sorted(loaded.names),
        path=str(loaded.spec.parts.weights),
        state=process.state.value,
        pid=process.pid,
        address=process.address,
        engine=str(process.binary) if process.binary else None,
        embedding=loaded.spec.mode is Mode.EMBEDDING,
        context_length=loaded.num_ctx,
        in_flight=loaded.leases,
        slots=slots.total,
        slots_taken=slots.taken,
        queued=slots.waiting,
        tokens_per_second=loaded.tokens_per_second,
        memory_bytes=process.memory_bytes,
        predicted_bytes=loaded.needs.total,
        host_bytes=loaded.taken.host,
        gpu_bytes=dict(loaded.taken.devices),
        predicted=_predicted(loaded.plan.solution.estimate),
        measured=_measured(loaded.buffers) if loaded.buffers else None,
        load_seconds=process.load_seconds,
        restarts=max(0, process.starts - 1),
        pinned=loaded.pinned,
        adjustments=list(loaded.adjustments),
        expires_at=expiry(loaded, now),
        last_exit=f"{last.reason.value}: {last.detail}" if last else None,
    )


def _predicted(estimate: Estimate) -> daemon_wire.BufferSizes:
    return daemon_wire.BufferSizes(
        weights=estimate.weights_bytes,
        kv=estimate.kv_bytes,
        state=estimate.state_bytes,
        compute=estimate.compute_bytes,
        output=estimate.output_bytes,
    )


def _measured(buffers: Buffers) -> daemon_wire.BufferSizes:
    return daemon_wire.BufferSizes(
        weights=buffers.weights,
        kv=buffers.kv,
        state=buffers.state,
        compute=buffers.compute,
        output=buffers.output,
    )


def _waiting(load: Waiting) -> daemon_wire.WaitingModel:
    return daemon_wire.WaitingModel(
        name=load.name, bytes=load.needs.total, seconds=round(load.seconds, 3), why=load.why
    )
