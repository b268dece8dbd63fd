"""A model fetched before the user's eyes: at a terminal a bar for each file, elsewhere a line for each step."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

from oprel.cli.screen import render
from oprel.core.exceptions import DownloadError, ModelNotFoundError, OprelError
from oprel.core.names import ModelRef, is_path
from oprel.utils.text import human_size

if TYPE_CHECKING:
    from oprel.api_models import ProgressResponse
    from oprel.client_api import Client
    from oprel.wire.downloads import DownloadResponse

Result = TypeVar("Result")


class Shown(Protocol):
    """What is shown of a pull."""

    def file(self, name: str, completed: int, total: int) -> None:
        """So many bytes of a file are here."""

    def step(self, text: str) -> None:
        """Something is done that is about no single file."""


def fetched_if_missing(client: "Client", model: str, use: Callable[[], Result]) -> Result:
    """What `use` returns; when it finds no such model that is fetched first, after saying what and how much.

    Raises what `use` raises, ModelNotFoundError too when nobody has the model.
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
            # Nobody could be asked: it may be a name that was mistyped.
            raise ModelNotFoundError(f"{missing.message}, and {error.message}", *missing.resolution_steps) from error
        return use()


def pull(client: "Client", model: str, *, insecure: bool = False) -> None:
    """Fetch a model; from a registry over http if that is `insecure`. Raises ModelNotFoundError, DownloadError."""
    first = None
    try:
        steps = client.pull(model, insecure=insecure, stream=True)
        with render.patience(f"looking for {model}"):
            first = next((step for step in steps if step.total), None)
        if first:
            _show(chain([first], steps), _announced(client, model))
    except ModelNotFoundError as error:
        raise _in_own_words(error) from None
    except KeyboardInterrupt:
        kept = f" What is here of it is kept: `oprel pull {model}` carries on." if first else ""
        render.note(f"Stopped.{kept}")
        raise


def _show(steps: "Iterator[ProgressResponse]", names: Mapping[str, str]) -> None:
    """Show each step; `names` are what files are called, by their digests."""
    with _shown() as shown:
        for step in steps:
            if step.total:
                key = step.digest or (step.status or "").removeprefix("pulling ")
                shown.file(names.get(key, key), step.completed or 0, step.total)
            else:
                shown.step(step.status or "")


def gave_up(client: "Client", model: str) -> bool:
    """Give up the model's download, with what is here of it; False when there is none that has not ended."""
    found = None if is_path(model) else _download(client, ModelRef.parse(model).key)
    if found is None or found.status == "done":
        return False
    client.cancel_download(found.id)
    return True


def _in_own_words(error: ModelNotFoundError) -> ModelNotFoundError:
    """What the daemon says after what clients of Ollama look for."""
    from oprel.api_models import NOT_TO_BE_PULLED

    if error.message != NOT_TO_BE_PULLED or not error.resolution_steps:
        return error
    first, *others = error.resolution_steps
    return ModelNotFoundError(first.removesuffix("."), *others)


def _announced(client: "Client", model: str) -> dict[str, str]:
    """Say what is fetched, and how much; what its files are called, by their digests."""
    found = _download(client, ModelRef.parse(model).key)
    if found is None:
        return {}
    count = f"{len(found.files)} files" if len(found.files) > 1 else "1 file"
    render.note(f"{found.title}: {count}, {human_size(found.total)}")
    return {file.digest or file.name: file.name for file in found.files}


def _download(client: "Client", key: str) -> "DownloadResponse | None":
    try:
        known = client.downloads().downloads
    except OprelError:  # a daemon that knows no more than Ollama's
        return None
    return next((one for one in reversed(known) if ModelRef.parse(one.model).key == key), None)


def _shown() -> AbstractContextManager[Shown]:
    if render.has_watcher() and render.columns():
        from oprel.cli.screen.bars import Bars

        return Bars()
    return nullcontext(_PlainLines())


class _PlainLines:
    """For logs and scripts: each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def file(self, name: str, completed: int, total: int) -> None:
        self.step(f"pulling {name} ({human_size(total)})")

    def step(self, text: str) -> None:
        if text not in self._said:
            render.note(text)
        self._said.add(text)
