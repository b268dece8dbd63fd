"""The HTTP application: its routes, its errors, and the startup and shutdown of what the routes use."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from oprel.core.config import Config
from oprel.core.configuration.given import Given
from oprel.core.exceptions import OprelError
from oprel.core.state import keys
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.runtime.selection.engines import has_engine_for
from oprel.server.access.keys import CallerKeys
from oprel.server.api.common.app_state import AppState
from oprel.server.api.common.errors import error_response
from oprel.server.api.connections.request_records import RequestRecords
from oprel.server.api.guard import Guard
from oprel.server.api.lazy_routes import LazyRoutes, add_routes
from oprel.server.api.ollama import routes as ollama
from oprel.server.downloads import records
from oprel.server.downloads.manager import Downloads
from oprel.server.errors import unexpected
from oprel.server.history import conversations
from oprel.server.history.request_log import RequestLog
from oprel.server.models.last_use import LastUse
from oprel.server.models.library import Library
from oprel.server.pool.manager import ModelManager
from oprel.utils.database import heal, opened
from oprel.utils.process.clock import Clock

# The routers beside Ollama's main one, by the beginnings of their paths. The first router of a path serves it.
LAZY_ROUTERS = {
    ("/v1/",): (
        "anthropic.models:router",
        "openai.routes:router",
        "responses.routes:router",
        "anthropic.routes:router",
    ),
    ("/api/tokenize", "/api/detokenize"): ("oprel.tokens:router",),
    ("/api/models/", "/api/search", "/api/inspect"): (
        "oprel.library.routes:router",
        "oprel.library.routes:managing",
        "oprel.library.files:private",
        "oprel.library.downloads:router",
    ),
    ("/api/blobs/", "/api/create", "/api/copy", "/api/delete", "/api/pull", "/api/push"): ("ollama.models:router",),
    ("/metrics", "/crashes", "/logs", "/quarantine", "/settings"): (
        "oprel.monitoring.observe:router",
        "oprel.monitoring.observe:private",
    ),
    ("/health", "/models", "/load", "/unload", "/generate"): ("oprel.native:public", "oprel.native:router"),
    ("/api/events",): ("oprel.monitoring.events:router",),
    ("/openapi.json",): ("reference.routes:router",),
}


def assemble(
    config: Config,
    binaries: EngineBinaries,
    run_dir: Path,
    clock: Clock | None = None,
    given: Given = MappingProxyType({}),
    request_log: RequestLog | None = None,
) -> AppState:
    """Build everything that the routes use. Only this function connects the parts of the daemon.

    `given`: where the settings of `config` that are no defaults come from.
    """
    state_file = config.home_dir / "state.db"
    heal(state_file, (conversations.SCHEMA, records.SCHEMA, keys.SCHEMA))
    library = Library(config)
    last_use = LastUse(config.home_dir / "last-used.json", is_away=library.disks.away)
    manager = ModelManager(config, binaries, run_dir, clock, on_use=last_use.note)
    downloads = Downloads(
        config,
        library,
        manager.planning.choose,
        serves_folders=lambda: has_engine_for("safetensors", config),
        draining=lambda: manager.draining,
        free_replaced=lambda before: state.removal.free_replaced(before),
    )
    state = AppState(
        manager=manager,
        library=library,
        conversations=conversations.Conversations(state_file),
        last_use=last_use,
        downloads=downloads,
        keys=CallerKeys(
            keys.KeyStore(opened(state_file, keys.SCHEMA)), keys.given_keys(config.api_keys), manager.clock
        ),
        request_log=request_log,
        started=time.monotonic(),
        given=given,
    )
    return state


def create_app(state: AppState) -> FastAPI:
    """The daemon's application. Its lifespan resumes downloads and, at the end, stops every engine."""
    app = FastAPI(title="oprel", openapi_url=None, lifespan=_lifespan(state))
    app.state.daemon = state
    add_routes(app, ollama.public)
    add_routes(app, ollama.router)
    app.router.routes.extend(LazyRoutes(app, prefixes, routers) for prefixes, routers in LAZY_ROUTERS.items())
    app.add_exception_handler(OprelError, _oprel_error)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_exception_handler(ClientDisconnect, _client_left)
    app.add_exception_handler(Exception, _unexpected_error)
    requests = RequestRecords(state.keys, state.manager.metrics, state.request_log)
    app.add_middleware(Guard, config=state.manager.config, requests=requests)
    return app


def _lifespan(state: AppState):  # type: ignore[no-untyped-def]  # starlette's own alias for this is private
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        asyncio.get_running_loop().set_exception_handler(_log_fault)
        state.downloads.open()
        try:
            yield
        finally:
            await state.downloads.close()
            await state.manager.close()
            state.conversations.close()
            state.last_use.close()
            state.keys.close()
            if state.request_log:
                await asyncio.to_thread(state.request_log.close)

    return lifespan


def _log_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's default handler, except for a read of a Unix socket that is cancelled just as it becomes ready.

    anyio still sets its result (near agronholm/anyio#1267), and no task waits for it.
    """
    late = isinstance(context.get("exception"), asyncio.InvalidStateError) and "set_result" in str(context)
    if not late:
        loop.default_exception_handler(context)


async def _oprel_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OprelError)
    return error_response(request.scope, error)


async def _client_left(request: Request, error: Exception) -> Response:
    """The client disconnected while it sent its request: not an error."""
    return Response()


async def _unexpected_error(request: Request, error: Exception) -> Response:
    return error_response(request.scope, unexpected(error))


async def _no_such_route(request: Request, error: Exception) -> Response:
    """Unknown paths and methods as plain text, with the messages that clients of Ollama know."""
    assert isinstance(error, HTTPException)
    text = {404: "404 page not found", 405: "405 method not allowed"}.get(error.status_code, str(error.detail))
    return PlainTextResponse(text, error.status_code, error.headers)
