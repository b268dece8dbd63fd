"""oprel's own API for who looks at it: figures, logs of engines, crashes, and requests in quarantine."""

from collections.abc import AsyncGenerator

import anyio.to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse

from oprel.core.exceptions import ModelNotFoundError, ValidationError
from oprel.runtime.engine import Engine
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.streaming_response import StreamingReply
from oprel.server.history.quarantine import QuarantinedRequest
from oprel.utils.text import timestamp
from oprel.wire import daemon as wire

READ = ["GET", "HEAD"]
TEXT = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


async def _only_own_user(request: Request) -> None:
    """What engines said and were asked is for no web page, and for no other machine."""
    if not decode.is_own_user(request):
        raise ValidationError("this is for this machine's own user", "Ask there, with `oprel` or without an Origin.")


router = APIRouter()
private = APIRouter(dependencies=[Depends(_only_own_user)])


@router.api_route("/metrics", methods=READ)
async def metrics(request: Request) -> Response:
    from oprel.server.api.oprel.prometheus import exposition  # loads prometheus_client, which most daemons never need

    daemon = state_of(request)
    uptime = daemon.manager.clock() - daemon.started
    return Response(exposition(daemon.manager, uptime), media_type=PROMETHEUS)


@private.api_route("/crashes", methods=READ)
async def crashes(request: Request) -> Response:
    found = await anyio.to_thread.run_sync(state_of(request).manager.crashes.entries)
    return json_response(wire.CrashesResponse(crashes=found))


@private.api_route("/crashes/{text}", methods=READ)
async def crash(request: Request, text: str) -> Response:
    """The newest crash that has the text in its ID."""
    found = await anyio.to_thread.run_sync(state_of(request).manager.crashes.find, text)
    return json_response(found)


@private.api_route("/logs", methods=READ)
async def logs(request: Request, model: str = "", follow: str = "false") -> Response:
    """The last lines of a model's engine; with `follow` also those to come, until it is unloaded."""
    found = await decode.model(request, decode.required(model))
    engine = state_of(request).manager.last_engine(found.name)
    if engine is None:
        raise ModelNotFoundError(f"{model} was not loaded", "`oprel ps` shows what is; `oprel crash ls` what ended.")
    if follow.lower() not in ("true", "1"):
        return PlainTextResponse("".join(f"{line}\n" for line in engine.log))
    return StreamingReply(_following(engine), TEXT, broken=lambda error: f"({error.message})\n".encode())


@private.api_route("/quarantine", methods=READ)
async def quarantine(request: Request) -> Response:
    entries = state_of(request).manager.quarantine.entries()
    return json_response(wire.QuarantineResponse(requests=[_quarantined(entry) for entry in entries]))


@private.delete("/quarantine")
async def clear_quarantine(request: Request) -> Response:
    return json_response(wire.ClearedResponse(cleared=state_of(request).manager.quarantine.clear()))


@private.delete("/quarantine/{hash}")
async def clear_one(request: Request, hash: str) -> Response:
    return json_response(wire.ClearedResponse(cleared=state_of(request).manager.quarantine.clear(hash)))


async def _following(engine: Engine) -> AsyncGenerator[bytes, None]:
    async for line in engine.follow():
        yield f"{line}\n".encode()


def _quarantined(entry: QuarantinedRequest) -> wire.QuarantineEntry:
    return wire.QuarantineEntry(
        hash=entry.hash,
        model=entry.model,
        reason=entry.reason,
        strikes=entry.strikes,
        at=timestamp(entry.at),
        until=timestamp(entry.until),
    )
