"""Downloading a model with visible progress: at a terminal a bar for each file, elsewhere a line for each step."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

from oprel.cli.screen import render
from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError
from oprel.core.names import DEFAULT_TAG, ModelRef, is_path
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.api_models import ProgressResponse
    from oprel.cli.options import AnyClient
    from oprel.wire.downloads import DownloadResponse

LAST_STEP = "writing manifest"
USUAL_STEPS = ("pulling manifest", "verifying sha256 digest", LAST_STEP, render.SUCCESS, None)
Result = TypeVar("Result")


class ProgressDisplay(Protocol):
    """Shows the progress of a pull."""

    def file(self, name: str, completed: int, total: int) -> None:
        """Show how many bytes of a file have arrived."""

    def step(self, text: str) -> None:
        """Show a step that concerns no single file."""


def pulling_if_missing(client: "AnyClient", model: str, use: Callable[[], Result]) -> Result:
    """Return what `use` returns; if the model is not installed, pull it and try again.

    Raises what `use` raises, and ModelNotFoundError when no source has the model.
    """
    try:
        return use()
    except ModelNotFoundError as missing:
        if is_path(model):
            raise
        try:
            pull(client, model)
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{missing.message}, and {error.message}", *error.resolution_steps) from error
        except DownloadError as error:
            if _download(client, ModelRef.parse(model).key):
                raise
            # No source could be reached: the name may be mistyped.
            raise ModelNotFoundError(f"{missing.message}, and {error.message}", *error.resolution_steps) from error
        return use()


def pull(client: "AnyClient", model: str, *, insecure: bool = False) -> None:
    """Download a model; `insecure` allows a registry over http. Raises ModelNotFoundError, DownloadError."""
    first = None
    try:
        steps = client.pull(model, insecure=insecure, stream=True)
        first = _first_file(steps, model)
        if first:
            _show(chain([first], steps), _announce(client, model))
    except ModelNotFoundError as error:
        raise _with_own_message(error) from None
    except KeyboardInterrupt:
        kept = f" The partial download is kept; `oprel pull {model}` resumes it." if first else ""
        render.note(f"Stopped.{kept}")
        raise


def _first_file(steps: "Iterator[ProgressResponse]", model: str) -> "ProgressResponse | None":
    """The first step with a file. Shows what those before it say beside the usual, such as why they wait."""
    while True:
        with render.waiting(f"looking for {model}"):
            step = next((step for step in steps if step.total or step.status not in USUAL_STEPS), None)
        if step is None or step.total:
            return step
        render.note(step.status)


def _show(steps: "Iterator[ProgressResponse]", names: Mapping[str, str]) -> None:
    """Show each step; `names` maps digests to file names."""
    with _display() as display:
        for step in steps:
            if step.total:
                key = step.digest or (step.status or "").removeprefix("pulling ")
                display.file(names.get(key, key), step.completed or 0, step.total)
            elif step.status:
                display.step(step.status)
            if step.status == LAST_STEP:
                break
    for step in steps:  # what there is to say of the files stays at a terminal
        if step.status and step.status != render.SUCCESS:  # the command says so itself, last
            render.note(step.status)


def cancel_download(client: "AnyClient", model: str) -> bool:
    """Cancel the model's download and delete its partial files; False when none is unfinished."""
    download = None if is_path(model) else _download(client, ModelRef.parse(model).key)
    if download is None or download.status == "done":
        return False
    client.cancel_download(download.id)
    return True


def unfinished(downloads: "Iterable[DownloadResponse]") -> Iterator[str]:
    """The progress of each unfinished download."""
    for download in downloads:
        name = download.model.removesuffix(f":{DEFAULT_TAG}")
        progress = f"{human_size(download.completed)} of {human_size(download.total)}"
        if download.status == "running":
            yield f"{name}, {progress}: {download.waiting or 'downloading'}"
        elif download.status != "done":
            yield f"{name}, {progress}: {download.status}; `oprel pull {name}` resumes it, `oprel rm {name}` deletes it"


def _with_own_message(error: ModelNotFoundError) -> ModelNotFoundError:
    """Replace Ollama's message, which its clients look for, by our own, which the daemon sends as the first step."""
    from oprel.api_models import NOT_TO_BE_PULLED

    if error.message != NOT_TO_BE_PULLED or not error.resolution_steps:
        return error
    message, *steps = error.resolution_steps
    return ModelNotFoundError(message.removesuffix("."), *steps)


def _announce(client: "AnyClient", model: str) -> dict[str, str]:
    """Print what will be downloaded and how much; return the file names by digest."""
    download = _download(client, ModelRef.parse(model).key)
    if download is None:
        return {}
    count = f"{len(download.files)} files" if len(download.files) > 1 else "1 file"
    render.note(f"{download.title}: {count}, {human_size(download.total)}")
    return {file.digest or file.name: file.name for file in download.files}


def _download(client: "AnyClient", key: str) -> "DownloadResponse | None":
    try:
        downloads = client.downloads().downloads
    except OprelError:  # not an oprel daemon: it has only Ollama's API
        return None
    return next((download for download in reversed(downloads) if ModelRef.parse(download.model).key == key), None)


def _display() -> AbstractContextManager[ProgressDisplay]:
    if render.has_watcher() and render.columns():
        from oprel.cli.screen.bars import Bars

        return Bars()
    return nullcontext(_PlainLines())


class _PlainLines:
    """For logs and scripts: prints each step once."""

    def __init__(self) -> None:
        self._printed: set[str] = set()

    def file(self, name: str, completed: int, total: int) -> None:
        self.step(f"pulling {name} ({human_size(total)})")

    def step(self, text: str) -> None:
        if text not in self._printed:
            render.note(text)
        self._printed.add(text)
