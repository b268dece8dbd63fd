"""Models are fetched on their first use through oprel's own routes. The other dialects answer 404, as Ollama does."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import DownloadError, ModelNotFoundError
from oprel.core.names import ModelRef, NameKind
from oprel.server.access.caller import AccessLevel
from oprel.server.access.identify import caller_of
from oprel.server.api.common import decode
from oprel.server.api.common.app_state import state_of
from oprel.server.downloads.manager import Downloads
from oprel.server.downloads.task import Download


async def fetched(request: Request, name: str, *, fetch: bool) -> AsyncGenerator[ProgressResponse, None]:
    """Make sure that the model is installed, and yield the steps of its download if it was not.

    As with a pull, the download stops when the client leaves, and the next request continues it. Raises
    ModelNotFoundError if no source offers the model, `fetch` is false, or the caller may use installed models only;
    DownloadError, InvalidModelError.
    """
    try:
        await decode.model(request, name)
        return
    except ModelNotFoundError as error:
        missing = error
    may_fetch = caller_of(request).access >= AccessLevel.MODELS
    ref = _fetchable(name) if fetch and may_fetch else None
    if ref is None:
        raise missing
    download = state_of(request).downloads.start(ref, keep=False, public_only=not decode.is_own_user(request))
    async with aclosing(_steps(state_of(request).downloads, download, missing)) as steps:
        async for step in steps:
            yield step


def _fetchable(name: str) -> ModelRef | None:
    """The name, unless it is a path. `decode.model` has parsed it."""
    ref = ModelRef.parse(name)
    return None if ref.kind is NameKind.PATH else ref


async def _steps(
    downloads: Downloads, download: Download, missing: ModelNotFoundError
) -> AsyncGenerator[ProgressResponse, None]:
    try:
        async with aclosing(downloads.follow(download)) as steps:
            async for step in steps:
                yield step
    except (ModelNotFoundError, DownloadError) as error:
        if download.destinations:
            raise
        reason = f"It cannot be fetched: {error.message}."
        raise ModelNotFoundError(missing.message, reason, *error.resolution_steps) from error
