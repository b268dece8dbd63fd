"""oprel's own API of downloads that continue in the background, and of the search for models."""

from fastapi import Request, Response

from oprel.core.exceptions import ValidationError
from oprel.core.names import ModelRef, NameKind
from oprel.downloader.hub import HubModel
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.api.common.encode import json_response
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.api.oprel.library.download_tasks import task_of
from oprel.server.downloads.task import Download
from oprel.wire import downloads as wire

router = dialect_router(encode_api_error, access=AccessLevel.MODELS)

READ = ["GET", "HEAD"]
DOWNLOADS = "/api/models/download"
TASKS = "/api/models/downloads"
MOST_RESULTS = 100


@router.post(DOWNLOADS)
async def start(request: Request) -> Response:
    body = await decode.parse_body(request, wire.DownloadRequest)
    name = decode.required(body.model or body.model_id)
    ref = ModelRef.parse(name)
    if ref.kind is NameKind.PATH:
        raise ValidationError(f"{name} is a path, and needs no download")
    public_only = not decode.is_own_user(request)
    return _task_reply(request, state_of(request).downloads.start(ref, keep=True, public_only=public_only))


@router.api_route(DOWNLOADS, methods=READ)
async def list_downloads(request: Request) -> Response:
    """The older list, with older words for the state."""
    downloads = [_download(download) for download in state_of(request).downloads.all()]
    return json_response(wire.DownloadsResponse(downloads=downloads))


@router.api_route(TASKS, methods=READ)
async def list_tasks(request: Request) -> Response:
    own = decode.is_own_user(request)
    tasks = [task_of(download, shows_url=own) for download in state_of(request).downloads.all()]
    return json_response(wire.DownloadTasksResponse(downloads=tasks))


@router.api_route(DOWNLOADS + "/{task}", methods=READ)
async def show_download(request: Request, task: str) -> Response:
    return _task_reply(request, state_of(request).downloads.get(task))


@router.post(DOWNLOADS + "/{task}/pause")
async def pause(request: Request, task: str) -> Response:
    return _task_reply(request, state_of(request).downloads.pause(task))


@router.post(DOWNLOADS + "/{task}/resume")
async def resume(request: Request, task: str) -> Response:
    return _task_reply(request, state_of(request).downloads.resume(task))


@router.delete(DOWNLOADS + "/{task}")
async def cancel(request: Request, task: str) -> Response:
    return _task_reply(request, await state_of(request).downloads.cancel(task), is_cancelled=True)


@router.api_route("/api/search", methods=READ)
async def search(request: Request, q: str = "", limit: str = "20") -> Response:
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:9]) <= MOST_RESULTS:
        raise ValidationError(f"limit must be a number from 1 to {MOST_RESULTS}")
    sources = await state_of(request).downloads.sources()
    sources.check_online()
    models = await sources.hub.search(q, int(limit))
    return json_response(wire.SearchResponse(models=[_search_result(model) for model in models]))


def _task_reply(request: Request, download: Download, *, is_cancelled: bool = False) -> Response:
    shows_url = decode.is_own_user(request)
    return json_response(task_of(download, shows_url=shows_url, is_cancelled=is_cancelled), nulls=True)


def _download(download: Download) -> wire.DownloadResponse:
    task = task_of(download, shows_url=False)
    common = task.model_dump(include={*wire.DownloadResponse.model_fields} - {"status"})
    return wire.DownloadResponse(status=task.state, **common)


def _search_result(model: HubModel) -> wire.FoundModel:
    return wire.FoundModel(
        name=f"hf.co/{model.repository}",
        downloads=model.downloads,
        likes=model.likes,
        modified_at=model.modified,
        gated=model.gated,
        tags=list(model.tags),
    )
