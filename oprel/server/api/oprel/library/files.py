"""The files of models, and the import of files from disk."""

from functools import partial
from pathlib import Path

import anyio.to_thread
from fastapi import Request, Response

from oprel.core.config import Config
from oprel.core.exceptions import ValidationError
from oprel.formats.checks import validation
from oprel.runtime.selection.inspections import described, engines_for
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming import progress_reply
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.api.oprel.library.rows import moment
from oprel.server.models import import_files
from oprel.server.storage import cache
from oprel.server.storage.cache import StoredFile
from oprel.server.storage.removal import Removed
from oprel.stores.seen import away_models
from oprel.wire import library as library_wire
from oprel.wire.inspection import InspectRequest, ModelInspection

private = dialect_router(encode_api_error, access=AccessLevel.ADMIN)

READ = ["GET", "HEAD"]
CACHE = "/api/models/cache"


@private.api_route(CACHE, methods=READ)
async def cached(request: Request) -> Response:
    files = await _files(state_of(request))
    reply = library_wire.CacheResponse(
        files=[_cached_file(file) for file in files],
        duplicates=[[str(file.path) for file in group] for group in cache.duplicates(files)],
    )
    return json_response(reply, nulls=True)


@private.post(CACHE + "/verify")
async def verify(request: Request) -> Response:
    """Check the files whose digest is in their names. Each file is a step; an error at the end names damaged files."""
    body = await decode.parse_body(request, library_wire.CacheRequest)
    files = await _files(state_of(request))
    chosen = [file for file in files if not file.is_partial and (body.all or file.provider == "oprel")]
    away = await anyio.to_thread.run_sync(away_models, state_of(request).manager.config)
    return progress_reply(cache.verify(chosen, away), stream=True)


@private.delete(CACHE)
async def prune(request: Request) -> Response:
    """Remove files that no model uses; with `all`, also the models whose files belong to oprel."""
    body = await decode.parse_body(request, library_wire.CacheRequest)
    state = state_of(request)
    return removed_reply(await (state.removal.clear() if body.all else state.removal.sweep()))


@private.post("/api/models/import")
async def import_model(request: Request) -> Response:
    """Give a file of this machine a name."""
    body = await decode.parse_body(request, library_wire.ImportRequest)
    name = decode.model_name(body.model, "invalid model name")
    files = await anyio.to_thread.run_sync(import_files.files_at, _absolute(body.path))
    steps = import_files.import_model(state_of(request).library, name, files, body.how)
    return progress_reply(steps, stream=body.stream)


@private.post("/api/inspect")
async def inspect(request: Request) -> Response:
    """Examine a model's files. They are read, and never loaded."""
    body = await decode.parse_body(request, InspectRequest)
    path = _absolute(body.path)
    return json_response(await anyio.to_thread.run_sync(_inspected, path, state_of(request).manager.config), nulls=True)


def _inspected(path: Path, config: Config) -> ModelInspection:
    inspection = validation.inspect(path)
    return described(inspection, engines_for(inspection, config))


def _absolute(path: str) -> Path:
    """Raises ValidationError for a relative path: the daemon does not know the client's folder."""
    if not Path(path).is_absolute():
        raise ValidationError(f"{path!r} is not an absolute path", "Give the whole path, from the root.")
    return Path(path)


async def _files(state: AppState) -> list[StoredFile]:
    look = partial(cache.cached_files, state.library, state.last_use, state.arriving)
    return await anyio.to_thread.run_sync(look)


def _cached_file(file: StoredFile) -> library_wire.CachedFile:
    return library_wire.CachedFile(
        path=str(file.path),
        size=file.size_bytes,
        digest=file.digest or None,
        provider=file.provider,
        models=list(file.names),
        last_used_at=moment(file.used),
        partial=file.is_partial,
        total=file.total_bytes,
    )


def removed_reply(done: Removed) -> Response:
    kept_for = str(done.kept_for) if done.kept_for else None
    return json_response(
        library_wire.RemovedResponse(
            freed_bytes=done.freed_bytes,
            busy=done.busy,
            kept_for=kept_for,
            model=done.name or None,
            note=done.note or None,
        )
    )
