"""oprel's own API of the library: its models, their files, and the import of files from disk."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import anyio.to_thread
from fastapi import Request, Response

from oprel.core.exceptions import ModelAwayError, OprelError, ValidationError
from oprel.core.models.manifests import Manifest
from oprel.downloader.aliases import Alias, Aliases
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.encode import details, json_bytes, json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.streaming import progress_reply
from oprel.server.api.common.streaming_response import JSON
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.models import import_files
from oprel.server.models.last_use import LastUse
from oprel.server.models.summaries import ModelList, ModelSummary
from oprel.server.storage import cache
from oprel.server.storage.cache import StoredFile
from oprel.server.storage.removal import Removed
from oprel.stores.seen import away_models
from oprel.wire import library as library_wire
from oprel.wire.library import LibraryModel, ModelStatus

router = dialect_router(encode_api_error, access=AccessLevel.INFERENCE)
managing = dialect_router(encode_api_error, access=AccessLevel.MODELS)
private = dialect_router(encode_api_error, access=AccessLevel.ADMIN)

READ = ["GET", "HEAD"]
LIBRARY = "/api/models/library"
CACHE = "/api/models/cache"


@dataclass(frozen=True)
class _Filter:
    """The wanted values of each field; any where a set is empty. A model has all `capabilities`."""

    providers: set[str]
    statuses: set[str]
    capabilities: set[str]

    def wants(self, provider: str, status: ModelStatus, capabilities: Iterable[str] = ()) -> bool:
        is_wanted = not self.providers or provider in self.providers
        return is_wanted and (not self.statuses or status in self.statuses) and self.capabilities <= set(capabilities)


@router.api_route(LIBRARY, methods=READ)
async def library(request: Request, provider: str = "", status: str = "", capability: str = "") -> Response:
    """Each filter takes one value, or several with commas. Only `status=available` lists models that can be pulled."""
    state, wanted = state_of(request), _Filter(_values(provider), _values(status), _values(capability))
    if unknown := wanted.statuses - set(get_args(ModelStatus)):
        raise ValidationError(f"there is no status {min(unknown)!r}", f"Use {', '.join(get_args(ModelStatus))}.")
    loaded = {loaded.model.weights for loaded in state.manager.loaded}

    def reply(models: ModelList) -> Response:
        rows = [] if wanted.statuses == {"available"} else [*_installed_rows(models, wanted, loaded, state.last_use)]
        if "available" in wanted.statuses:
            aliases = map(_available, Aliases.load(state.manager.config.home_dir))
            rows += [json_bytes(alias) for alias in aliases if _wants(wanted, alias)]
        return Response(b'{"models":[%b]}' % b",".join(rows), media_type=JSON)

    return await state.library.survey(reply)


@managing.delete(LIBRARY + "/{name:text}")
async def remove(request: Request, name: str) -> Response:
    decode.model_name(name, f'name "{name}" is invalid')
    state = state_of(request)
    return _removed(await state.removal.remove(name))


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
    return _removed(await (state.removal.clear() if body.all else state.removal.sweep()))


@private.post("/api/models/import")
async def import_model(request: Request) -> Response:
    """Give a file of this machine a name."""
    body = await decode.parse_body(request, library_wire.ImportRequest)
    name = decode.model_name(body.model, "invalid model name")
    if not Path(body.path).is_absolute():  # the daemon does not know the client's folder
        raise ValidationError(f"{body.path!r} is not an absolute path", "Give the whole path, from the root.")
    files = await anyio.to_thread.run_sync(import_files.files_at, Path(body.path))
    steps = import_files.import_model(state_of(request).library, name, files, body.how)
    return progress_reply(steps, stream=body.stream)


def _values(text: str) -> set[str]:
    return {value.strip() for value in text.split(",") if value.strip()}


def _wants(wanted: _Filter, model: LibraryModel) -> bool:
    return wanted.wants(model.provider, model.status, model.capabilities)


def _installed_rows(models: ModelList, wanted: _Filter, loaded: set[Path], last_use: LastUse) -> Iterator[bytes]:
    """The models as JSON. Most are neither loaded nor were ever used: theirs is made once."""
    for model in models.usable:
        status, used = _status(model, loaded), last_use.of(model.weights)
        if wanted.wants(model.manifest.provider, status, model.capabilities):
            is_plain = status == "installed" and used is None
            yield model.encoded(_plain_row) if is_plain else json_bytes(_installed(model, status, used))
    damaged = (_damaged(manifest, error) for manifest, error in models.faults)
    yield from (json_bytes(model) for model in damaged if _wants(wanted, model))


def _status(model: ModelSummary, loaded: set[Path]) -> ModelStatus:
    return "loaded" if model.weights in loaded else "installed"


def _plain_row(model: ModelSummary) -> bytes:
    return json_bytes(_installed(model, "installed", None))


def _installed(model: ModelSummary, status: ModelStatus, used: float | None) -> LibraryModel:
    about = details(model)
    return LibraryModel(
        name=model.name,
        provider=model.manifest.provider,
        status=status,
        capabilities=list(model.capabilities),
        source=model.source,
        path=str(model.weights),
        size=model.size_bytes,
        digest=model.digest,
        family=about.family,
        parameter_size=about.parameter_size,
        quantization_level=about.quantization_level,
        modified_at=model.changed.isoformat(),
        last_used_at=_moment(used),
        notes=list(model.notes),
    )


def _damaged(manifest: Manifest, error: OprelError) -> LibraryModel:
    return LibraryModel(
        name=manifest.name,
        provider=manifest.provider,
        status="away" if isinstance(error, ModelAwayError) else "damaged",
        source=manifest.source or manifest.provider,
        path=str(manifest.weights),
        notes=[error.message],
    )


def _available(alias: Alias) -> LibraryModel:
    return LibraryModel(
        name=alias.name,
        provider="huggingface",
        status="available",
        capabilities=list(alias.capabilities),
        aliases=list(alias.also),
        repositories=dict(alias.repositories),
        license=alias.license,
        about=alias.about,
    )


async def _files(state: AppState) -> list[StoredFile]:
    look = partial(cache.cached_files, state.library, state.last_use, state.manager.config.hub_dir, state.arriving)
    return await anyio.to_thread.run_sync(look)


def _cached_file(file: StoredFile) -> library_wire.CachedFile:
    return library_wire.CachedFile(
        path=str(file.path),
        size=file.size_bytes,
        digest=file.digest or None,
        provider=file.provider,
        models=list(file.names),
        last_used_at=_moment(file.used),
        partial=file.is_partial,
        total=file.total_bytes,
    )


def _removed(done: Removed) -> Response:
    kept_for = str(done.kept_for) if done.kept_for else None
    return json_response(
        library_wire.RemovedResponse(
            freed_bytes=done.freed_bytes, busy=done.busy, kept_for=kept_for, model=done.name or None
        )
    )


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
