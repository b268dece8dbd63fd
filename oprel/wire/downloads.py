"""Wire types of downloads and search, which are oprel's own. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import RequestBody, Wire

DownloadState = Literal["running", "paused", "done", "failed"]


class DownloadRequest(RequestBody):
    model: str = ""


class DownloadedFile(Wire):
    """One file of a download. `completed` bytes are here, or verified when the phase says so."""

    name: str
    digest: str | None = None
    total: int
    completed: int
    phase: Literal["downloading", "verifying", "done"]


class DownloadResponse(Wire):
    """One download. `title` and `files` are known once its source has answered; `error` says why one has failed."""

    id: str
    model: str
    status: DownloadState
    title: str = ""
    total: int = 0
    completed: int = 0
    files: list[DownloadedFile] = []
    error: str | None = None
    resolution_steps: list[str] = []


class DownloadsResponse(Wire):
    """Oldest first."""

    downloads: list[DownloadResponse]


class FoundModel(Wire):
    """A repository that a search found. `name` is what to pull; a `gated` one wants its terms accepted first."""

    name: str
    downloads: int
    likes: int
    modified_at: str
    gated: bool
    tags: list[str]


class SearchResponse(Wire):
    """Those that most people fetch come first."""

    models: list[FoundModel]
