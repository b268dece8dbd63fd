"""oprel's own API: health, engines, loading and unloading, and answers within a remembered conversation."""

import os
import uuid
from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from oprel import __version__
from oprel import api_models as wire
from oprel.core.exceptions import ValidationError
from oprel.runtime.backends.base import Chunk, CompletionRequest, Message
from oprel.server import completions
from oprel.server.completions import Done, Job
from oprel.server.library import InstalledModel
from oprel.server.manager import LoadedModel
from oprel.server.reply import JSON, NDJSON, Reply
from oprel.server.routes import decode
from oprel.server.routes.encode import expiry, json_bytes, metrics
from oprel.server.state import Daemon, daemon_of
from oprel.utils.text import timestamp

router = APIRouter()

READ = ["GET", "HEAD"]


@router.api_route("/health", methods=READ)
async def health(request: Request) -> Response:
    daemon = daemon_of(request)
    shelf = daemon.manager.shelf
    return _json(
        wire.HealthResponse(
            status="ok",
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=round(daemon.manager.clock() - daemon.started, 3),
            engines=[str(binary) for binary in shelf.usable],
            engines_set_aside=[wire.AsideEngine(engine=str(one.binary), reason=one.reason) for one in shelf.aside],
        )
    )


@router.api_route("/models", methods=READ)
async def models(request: Request) -> Response:
    manager = daemon_of(request).manager
    return _json(wire.ModelsResponse(models=[_engine(loaded, manager.clock()) for loaded in manager.loaded]))


@router.post("/load")
async def load(request: Request) -> Response:
    asked = await decode.body(request, wire.LoadRequest)
    model = await _find(request, asked.model)
    _, options = decode.options(asked.options, model.manifest)
    job = Job(model, CompletionRequest(""), options, decode.keep_alive(asked.keep_alive))
    spent = await completions.load(daemon_of(request).manager, job, embedding=model.embeds_only)
    return _json(wire.LoadResponse(model=asked.model, state="ready", load_duration=spent))


@router.post("/unload")
async def unload(request: Request) -> Response:
    asked = await decode.body(request, wire.UnloadRequest)
    model = await _find(request, asked.model)
    return _json(wire.UnloadResponse(model=asked.model, unloaded=await daemon_of(request).manager.unload(model)))


@router.post("/generate")
async def generate(request: Request) -> Response:
    """A prompt's answer. With a `conversation_id` the conversation so far goes before it, and both are remembered."""
    asked = await decode.body(request, wire.ConversationRequest)
    daemon, model = daemon_of(request), await _find(request, asked.model)
    decode.refuse_unsupported(asked, model, "generate")
    if not asked.prompt:
        raise ValidationError("prompt is required", "`POST /load` loads a model without asking it anything.")
    turn = Turn(daemon, asked, model)
    if asked.stream:
        return Reply(turn.lines(), NDJSON)
    return Reply(turn.whole(), JSON)


class Turn:
    """One question and answer of a conversation; only a whole answer is remembered."""

    def __init__(self, daemon: Daemon, asked: wire.ConversationRequest, model: InstalledModel) -> None:
        self._daemon = daemon
        self._asked = asked
        self._conversation = asked.conversation_id or str(uuid.uuid4())
        past = daemon.conversations.messages(self._conversation) if asked.conversation_id else ()
        self._new = (*self._system(past, model), Message("user", asked.prompt))
        sampling, options = decode.options(asked.options, model.manifest)
        think = decode.think(asked.think, model, asked.model)
        completion = CompletionRequest(_in_order(past, self._new), sampling, decode.schema(asked.format), think)
        self._job = Job(model, completion, options, decode.keep_alive(asked.keep_alive))

    async def lines(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._pieces():
            yield json_bytes(piece) + b"\n"

    async def whole(self) -> AsyncGenerator[bytes, None]:
        texts = []
        async for piece in self._pieces():
            texts.append(piece.response)
            if piece.done:
                yield json_bytes(piece.model_copy(update={"response": "".join(texts)}))

    async def _pieces(self) -> AsyncGenerator[wire.ConversationResponse, None]:
        texts: list[str] = []
        async for piece in completions.run(self._daemon.manager, self._job):
            if isinstance(piece, Done):
                answer = Message("assistant", "".join(texts))
                self._daemon.conversations.append(self._conversation, *self._new, answer)
                yield self._reply(Chunk()).model_copy(update={**metrics(piece), "done": True})
            else:
                texts.append(piece.text)
                yield self._reply(piece)

    def _reply(self, chunk: Chunk) -> wire.ConversationResponse:
        return wire.ConversationResponse(
            model=self._asked.model,
            created_at=timestamp(),
            response=chunk.text,
            thinking=chunk.reasoning or None,
            conversation_id=self._conversation,
        )

    def _system(self, past: tuple[Message, ...], model: InstalledModel) -> tuple[Message, ...]:
        """The system message to remember: the one given, or the model's own at the start of a conversation."""
        text = self._asked.system_prompt
        if text is None and not past:
            text = model.manifest.system
        return (Message("system", text),) if text else ()


def _in_order(past: tuple[Message, ...], new: tuple[Message, ...]) -> tuple[Message, ...]:
    """The whole conversation under its newest system message, which templates want first."""
    everything = (*past, *new)
    systems = [message for message in everything if message.role == "system"]
    return (*systems[-1:], *(message for message in everything if message.role != "system"))


def _engine(loaded: LoadedModel, now: float) -> wire.EngineModel:
    process, last = loaded.process, loaded.process.last_exit
    return wire.EngineModel(
        name=loaded.model.name,
        names=sorted(loaded.names),
        path=str(loaded.spec.weights),
        state=process.state.value,
        pid=process.pid,
        address=process.address,
        engine=str(process.binary) if process.binary else None,
        embedding=loaded.spec.embedding,
        context_length=loaded.num_ctx,
        in_flight=loaded.leases,
        expires_at=expiry(loaded, now),
        last_exit=f"{last.reason.value}: {last.detail}" if last else None,
    )


async def _find(request: Request, name: str) -> InstalledModel:
    if not name:
        raise ValidationError("model is required")
    return await daemon_of(request).library.find(name, may_use_paths=decode.is_own_user(request))


def _json(reply: wire.Wire) -> Response:
    return Response(reply.model_dump_json(), media_type=JSON)
