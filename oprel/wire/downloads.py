"""Wire types of oprel's own API for downloads and search. Sizes in bytes, times in RFC 3339."""

from typing import Literal

from oprel.api_models import RequestBody, Wire

DownloadState = Literal["running", "paused", "done", "failed"]


class DownloadRequest(RequestBody):
    """`model_id` is another name of `model`."""

    model: str = ""
    model_id: str = ""


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


TaskStatus = Literal["pending", "downloading", "paused", "verifying", "completed", "failed", "cancelled"]
TaskError = Literal["network", "authentication", "not_found", "disk", "checksum", "security", "other"]


class DownloadTask(Wire):
    """A download as a task: the fields of `DownloadResponse`, whose `status` is here `state`, and those of a task.

    "pending": its source has not answered yet. `url` and `filename` are those of the file that is downloaded now, and
    `url` is for this machine's own user. `progress`: from 0 to 1. `speed`: bytes per second, lately. `start_time`:
    RFC 3339. `estimated_time_remaining`: seconds. `error_type`: what kind of thing went wrong.
    """

    id: str
    model: str
    state: DownloadState
    title: str = ""
    total: int = 0
    completed: int = 0
    files: list[DownloadedFile] = []
    waiting: str | None = None
    error: str | None = None
    resolution_steps: list[str] = []
    task_id: str
    model_id: str
    url: str | None = None
    filename: str | None = None
    total_size: int = 0
    downloaded_size: int = 0
    progress: float = 0.0
    speed: float = 0.0
    status: TaskStatus
    start_time: str
    estimated_time_remaining: float | None = None
    error_message: str | None = None
    error_type: TaskError | None = None


class DownloadTasksResponse(Wire):
    """Oldest first."""

    downloads: list[DownloadTask]


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
