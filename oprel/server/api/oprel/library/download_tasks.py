"""A download as the task that clients see."""

from urllib.parse import urlsplit

from oprel.downloader.source import Progress
from oprel.server.api.oprel.library.rows import moment
from oprel.server.downloads.records import DownloadState
from oprel.server.downloads.task import Download
from oprel.wire import downloads as wire


def task_of(download: Download, *, shows_url: bool, is_cancelled: bool = False) -> wire.DownloadTask:
    error, current = download.error, _current(download)
    message = error.message if error else None
    return wire.DownloadTask(
        id=download.id,
        model=download.ref.text,
        state=download.state.value,
        title=download.title,
        total=download.total,
        completed=download.completed,
        files=[_file(progress) for progress in download.files.values()],
        waiting=download.waits_for or None,
        error=message,
        resolution_steps=list(error.resolution_steps) if error else [],
        task_id=download.id,
        model_id=download.ref.text,
        url=bare_url(current.file.url) if current and shows_url else None,
        filename=current.file.name if current else None,
        total_size=download.total,
        downloaded_size=download.completed,
        progress=1.0 if download.state is DownloadState.DONE else round(download.progress, 4),
        speed=round(_speed(download)),
        status="cancelled" if is_cancelled else _status(download),
        start_time=moment(download.started) or "",
        estimated_time_remaining=_remaining(download),
        error_message=message,
        error_type=download.fault or None,  # type: ignore[arg-type]  # pydantic checks it
    )


def _status(download: Download) -> wire.TaskStatus:
    match download.state:
        case DownloadState.PAUSED:
            return "paused"
        case DownloadState.DONE:
            return "completed"
        case DownloadState.FAILED:
            return "failed"
    if download.is_verifying:
        return "verifying"
    return "downloading" if download.files else "pending"


def _speed(download: Download) -> float:
    return download.speed.bytes_per_second if download.state is DownloadState.RUNNING else 0.0


def _remaining(download: Download) -> float | None:
    speed = _speed(download)
    return round((download.total - download.completed) / speed, 1) if speed else None


def _current(download: Download) -> Progress | None:
    """The first file that is not complete, else the last one."""
    files = list(download.files.values())
    return next((progress for progress in files if progress.phase == "downloading"), files[-1] if files else None)


def bare_url(url: str) -> str:
    """The URL without what may be a secret: the login and the query.

    >>> bare_url("https://user:word@h.example:8/a/b.gguf?token=x")
    'https://h.example:8/a/b.gguf'
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _file(progress: Progress) -> wire.DownloadedFile:
    file = progress.file
    return wire.DownloadedFile(
        name=file.name,
        digest=f"sha256:{file.sha256}" if file.sha256 else None,
        total=file.size_bytes,
        completed=progress.done_bytes,
        phase=progress.phase,
    )
