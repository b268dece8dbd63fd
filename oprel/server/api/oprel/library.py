"""The library of oprel's own API, the files behind it, and models that go in from disk or out to a registry."""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import get_args

import anyio.to_thread
from fastapi import APIRouter, Request, Response

from oprel import api_models as wire
from oprel.core.exceptions import ModelNotFoundError, OprelError, ValidationError
from oprel.core.manifests import Manifest
from oprel.downloader.aliases import Alias, Aliases
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.encode import details, json_response
from oprel.server.api.oprel.models import name_of, progress
from oprel.server.models import import_files, push
from oprel.server.models.library import InstalledModel
from oprel.server.storage import cache
from oprel.server.storage.cache import StoredFile
from oprel.server.storage.removal import Removed
from oprel.wire import library as library_wire
from oprel.wire.library import LibraryModel, ModelStatus

router = APIRouter()

READ = ["GET", "HEAD"]
LIBRARY = "/api/models/library"
CACHE = "/api/models/cache"


@router.api_route(LIBRARY, methods=READ)
async def library(request: Request, provider: str = "", status: str = "", capability: str = "") -> Response:
    """Each filter takes one value or several with commas. Models that can be pulled are told when asked for."""
    daemon = state_of(request)
    wanted = _values(status)
    if unknown := wanted - set(get_args(ModelStatus)):
        raise ValidationError(f"there is no status {min(unknown)!r}", f"Use {', '.join(get_args(ModelStatus))}.")
    found = [] if wanted == {"available"} else await _here(daemon)
    if "available" in wanted:
        aliases = await anyio.to_thread.run_sync(Aliases.load, daemon.manager.config.home_dir)
        found += [_available(alias) for alias in aliases]
    keep = {"provider": _values(provider), "status": wanted}
    shown = [
        model
        for model in found
        if all(not values or model[key] in values for key, values in keep.items())
        and _values(capability) <= set(model.capabilities)
    ]
    return json_response(library_wire.LibraryResponse(models=shown))


@router.delete(LIBRARY + "/{name:path}")
async def remove(request: Request, name: str) -> Response:
    name_of(name, f'name "{name}" is invalid')
    daemon = state_of(request)
    return _removed(await daemon.removal.remove(name))


@router.api_route(CACHE, methods=READ)
async def cached(request: Request) -> Response:
    _check_own_user(request)
    files = await _files(state_of(request))
    reply = library_wire.CacheResponse(
        files=[_cached_file(file) for file in files],
        duplicates=[[str(file.path) for file in group] for group in cache.duplicates(files)],
    )
    return json_response(reply, nulls=True)


@router.post(CACHE + "/verify")
async def verify(request: Request) -> Response:
    """Reads the files whose content their names tell, and tells of each; an error at the end names the damaged."""
    _check_own_user(request)
    asked = await decode.body(request, library_wire.CacheRequest)
    files = await _files(state_of(request))
    chosen = [file for file in files if not file.is_partial and (asked.all or file.provider == "oprel")]
    return progress(cache.verify(chosen), True)


@router.delete(CACHE)
async def prune(request: Request) -> Response:
    """Removes what no model uses; with `all`, the models too whose files are oprel's."""
    _check_own_user(request)
    asked = await decode.body(request, library_wire.CacheRequest)
    daemon = state_of(request)
    return _removed(await (daemon.removal.clear() if asked.all else daemon.removal.sweep()))


@router.post("/api/models/import")
async def import_model(request: Request) -> Response:
    """Gives a file of this machine a name; for this machine's own user."""
    _check_own_user(request)
    asked = await decode.body(request, library_wire.ImportRequest)
    name = name_of(asked.model, "invalid model name")
    if not Path(asked.path).is_absolute():  # of which folder would it be?
        raise ValidationError(f"{asked.path!r} is no absolute path", "Name the file from the root on.")
    files = await anyio.to_thread.run_sync(import_files.files_at, Path(asked.path))
    return progress(import_files.import_model(state_of(request).library, name, files, asked.how), asked.stream)


@router.post("/api/push")
async def push_model(request: Request) -> Response:
    asked = await decode.body(request, wire.PullRequest)
    name = name_of(decode.required(asked.model), "invalid model name")
    daemon = state_of(request)
    model = await daemon.library.find(name.text, may_use_paths=False)
    destination = push.destination(name, insecure=asked.insecure)
    return progress(push.push_model(model, destination, daemon.manager.config), asked.stream)


def _check_own_user(request: Request) -> None:
    """The paths of a machine are its own user's to see and to name. Raises ModelNotFoundError, as of no such route."""
    if not decode.is_own_user(request):
        raise ModelNotFoundError("this is for the machine's own user", "Ask on the machine that the daemon runs on.")


def _values(text: str) -> set[str]:
    return {value.strip() for value in text.split(",") if value.strip()}


async def _here(daemon: AppState) -> list[LibraryModel]:
    loaded = {one.model.weights for one in daemon.manager.loaded}
    models, faults = await daemon.library.survey()
    return [
        *(_installed(model, loaded, daemon.last_use.of(model.weights)) for model in models),
        *(_damaged(manifest, error) for manifest, error in faults),
    ]


def _installed(model: InstalledModel, loaded: Iterable[Path], used: float | None) -> LibraryModel:
    about = details(model)
    return LibraryModel(
        name=model.name,
        provider=model.manifest.provider,
        status="loaded" if model.weights in loaded else "installed",
        capabilities=model.capabilities,
        source=model.source,
        path=str(model.weights),
        size=model.size_bytes,
        digest=model.digest,
        family=about.family,
        parameter_size=about.parameter_size,
        quantization_level=about.quantization_level,
        modified_at=model.changed.isoformat(),
        last_used_at=_moment(used),
        notes=model.notes,
    )


def _damaged(manifest: Manifest, error: OprelError) -> LibraryModel:
    return LibraryModel(
        name=manifest.name,
        provider=manifest.provider,
        status="damaged",
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


async def _files(daemon: AppState) -> list[StoredFile]:
    look = partial(cache.cached_files, daemon.library, daemon.last_use, daemon.manager.config.hub_dir, daemon.arriving)
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
    return json_response(library_wire.RemovedResponse(freed_bytes=done.freed_bytes, busy=done.busy))


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
