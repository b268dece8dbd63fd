"""Wire types of oprel's own API for downloads and search. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import RequestBody, Wire

DownloadState = Literal["running", "paused", "done", "failed"]


class DownloadRequest(RequestBody):
    model: str = ""


class DownloadedFile(Wire):
    """One file of a download. `completed`: bytes downloaded, or in the phase "verifying" verified."""

    name: str
    digest: str | None = None
    total: int
    completed: int
    phase: Literal["downloading", "verifying", "done"]


class DownloadResponse(Wire):
    """One download. `title` and `files` are set once its source has answered; `error` says why it failed.

    `waiting`: what a running one waits for, such as "waiting for the network: …"; it goes on by itself.
    """

    id: str
    model: str
    status: DownloadState
    title: str = ""
    total: int = 0
    completed: int = 0
    files: list[DownloadedFile] = []
    waiting: str | None = None
    error: str | None = None
    resolution_steps: list[str] = []


class DownloadsResponse(Wire):
    """Oldest first."""

    downloads: list[DownloadResponse]


class FoundModel(Wire):
    """A repository found by a search. `name`: what to pull; `gated`: its terms must be accepted first."""

    name: str
    downloads: int
    likes: int
    modified_at: str
    gated: bool
    tags: list[str]


class SearchResponse(Wire):
    """Most downloaded first."""

    models: list[FoundModel]
