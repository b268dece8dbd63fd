"""oprel's own API for observing it: metrics, logs of engines, crashes, and requests in quarantine."""

import time
from collections.abc import AsyncGenerator

import anyio.to_thread
from fastapi import Request, Response
from fastapi.responses import PlainTextResponse

from oprel.core.config import SETTINGS
from oprel.core.configuration.published import EffectiveSetting, effective
from oprel.core.exceptions import ForbiddenError, ModelNotFoundError
from oprel.runtime.engine import Engine
from oprel.server.access.caller import AccessLevel
from oprel.server.access.identify import caller_of
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming_response import StreamingReply
from oprel.server.api.oprel.errors import encode_error
from oprel.server.history.quarantine import QuarantinedRequest
from oprel.utils.text import timestamp
from oprel.wire import daemon as wire

READ = ["GET", "HEAD"]
TEXT = "text/plain; charset=utf-8"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


router = dialect_router(encode_error, access=AccessLevel.INFERENCE)
private = dialect_router(encode_error, access=AccessLevel.ADMIN)


@router.api_route("/metrics", methods=READ)
async def metrics(request: Request) -> Response:
    from oprel.server.api.oprel.monitoring.prometheus import (
        exposition,
    )  # imports prometheus_client, which is slow and which most daemons never need

    state, key = state_of(request), caller_of(request).key
    if key and key.models:
        raise ForbiddenError("the metrics name all models, and this key is for some", "Use another key for Prometheus.")
    uptime = time.monotonic() - state.started
    return Response(exposition(state.manager, uptime), media_type=PROMETHEUS)


@private.api_route("/crashes", methods=READ)
async def crashes(request: Request) -> Response:
    entries = await anyio.to_thread.run_sync(state_of(request).manager.crashes.entries)
    return json_response(wire.CrashesResponse(crashes=entries))


@private.api_route("/crashes/{text}", methods=READ)
async def crash(request: Request, text: str) -> Response:
    """The newest crash with the text in its ID."""
    return json_response(await anyio.to_thread.run_sync(state_of(request).manager.crashes.find, text))


@private.api_route("/logs", methods=READ)
async def logs(request: Request, model: str = "", follow: str = "false") -> Response:
    """The last lines of a model's engine; with `follow` also new lines, until the model is unloaded."""
    installed = await decode.model(request, decode.required(model))
    engine = state_of(request).manager.last_engine(installed.name)
    if engine is None:
        raise ModelNotFoundError(
            f"{model} was not loaded", "`oprel ps` lists loaded models, `oprel crash ls` engines that crashed."
        )
    if follow.lower() not in ("true", "1"):
        return PlainTextResponse("".join(f"{line}\n" for line in engine.log))
    return StreamingReply(_following(engine), TEXT, broken=lambda error: f"({error.message})\n".encode())


@private.api_route("/settings", methods=READ)
async def settings(request: Request) -> Response:
    state = state_of(request)
    entries = effective(state.manager.config, state.given)
    return json_response(wire.SettingsResponse(settings=[_setting(*entry) for entry in entries.items()]), nulls=True)


@private.api_route("/quarantine", methods=READ)
async def quarantine(request: Request) -> Response:
    entries = state_of(request).manager.quarantine.entries()
    return json_response(wire.QuarantineResponse(requests=[_quarantined(entry) for entry in entries]))


@private.delete("/quarantine")
async def clear_quarantine(request: Request) -> Response:
    return json_response(wire.ClearedResponse(cleared=state_of(request).manager.quarantine.clear()))


@private.delete("/quarantine/{hash}")
async def clear_quarantined(request: Request, hash: str) -> Response:
    return json_response(wire.ClearedResponse(cleared=state_of(request).manager.quarantine.clear(hash)))


async def _following(engine: Engine) -> AsyncGenerator[bytes, None]:
    async for line in engine.follow():
        yield f"{line}\n".encode()


def _setting(name: str, setting: EffectiveSetting) -> wire.SettingEntry:
    return wire.SettingEntry(
        name=name, value=setting.value, default=SETTINGS[name].default, origin=setting.origin or None
    )


def _quarantined(entry: QuarantinedRequest) -> wire.QuarantineEntry:
    return wire.QuarantineEntry(
        hash=entry.hash,
        model=entry.model,
        reason=entry.reason,
        strikes=entry.strikes,
        at=timestamp(entry.at),
        until=timestamp(entry.until),
    )
