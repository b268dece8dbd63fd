"""oprel's own API of downloads that continue in the background, and of the search for models."""

from fastapi import Request, Response

from oprel.core.exceptions import ValidationError
from oprel.core.names import ModelRef, NameKind
from oprel.downloader.hub import HubModel
from oprel.downloader.source import Progress
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.downloads.task import Download
from oprel.wire import downloads as wire

router = dialect_router(encode_api_error, access=AccessLevel.MODELS)

READ = ["GET", "HEAD"]
DOWNLOADS = "/api/models/download"
MOST_RESULTS = 100


@router.post(DOWNLOADS)
async def start(request: Request) -> Response:
    body = await decode.parse_body(request, wire.DownloadRequest)
    ref = ModelRef.parse(decode.required(body.model))
    if ref.kind is NameKind.PATH:
        raise ValidationError(f"{body.model} is a path, and needs no download")
    public_only = not decode.is_own_user(request)
    return json_response(_download(state_of(request).downloads.start(ref, keep=True, public_only=public_only)))


@router.api_route(DOWNLOADS, methods=READ)
async def list_downloads(request: Request) -> Response:
    downloads = [_download(download) for download in state_of(request).downloads.all()]
    return json_response(wire.DownloadsResponse(downloads=downloads))


@router.api_route(DOWNLOADS + "/{task}", methods=READ)
async def show_download(request: Request, task: str) -> Response:
    return json_response(_download(state_of(request).downloads.get(task)))


@router.post(DOWNLOADS + "/{task}/pause")
async def pause(request: Request, task: str) -> Response:
    return json_response(_download(state_of(request).downloads.pause(task)))


@router.post(DOWNLOADS + "/{task}/resume")
async def resume(request: Request, task: str) -> Response:
    return json_response(_download(state_of(request).downloads.resume(task)))


@router.delete(DOWNLOADS + "/{task}")
async def cancel(request: Request, task: str) -> Response:
    return json_response(_download(await state_of(request).downloads.cancel(task)))


@router.api_route("/api/search", methods=READ)
async def search(request: Request, q: str = "", limit: str = "20") -> Response:
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:9]) <= MOST_RESULTS:
        raise ValidationError(f"limit must be a number from 1 to {MOST_RESULTS}")
    sources = await state_of(request).downloads.sources()
    sources.check_online()
    models = await sources.hub.search(q, int(limit))
    return json_response(wire.SearchResponse(models=[_search_result(model) for model in models]))


def _download(download: Download) -> wire.DownloadResponse:
    error = download.error
    return wire.DownloadResponse(
        id=download.id,
        model=download.ref.text,
        status=download.state.value,
        title=download.title,
        total=download.total,
        completed=download.completed,
        files=[_file(progress) for progress in download.files.values()],
        waiting=download.waits_for or None,
        error=error.message if error else None,
        resolution_steps=list(error.resolution_steps) if error else [],
    )


def _file(progress: Progress) -> wire.DownloadedFile:
    file = progress.file
    return wire.DownloadedFile(
        name=file.name,
        digest=f"sha256:{file.sha256}" if file.sha256 else None,
        total=file.size_bytes,
        completed=progress.done_bytes,
        phase=progress.phase,
    )


def _search_result(model: HubModel) -> wire.FoundModel:
    return wire.FoundModel(
        name=f"hf.co/{model.repository}",
        downloads=model.downloads,
        likes=model.likes,
        modified_at=model.modified,
        gated=model.gated,
        tags=list(model.tags),
    )
