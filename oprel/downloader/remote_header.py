"""Fetches the header of a remote model with range requests, without the weights."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from oprel.core.exceptions import DownloadError, InvalidModelError
from oprel.core.variants import RepoFile, Variant, are_of_one_model, projectors_for
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.network.clients import open_blocking_client
from oprel.downloader.network.described import LOGIN_PAGE, is_page, size_of
from oprel.downloader.network.failures import reason
from oprel.downloader.network.retries import busy, patiently_blocking, unreachable
from oprel.downloader.source import RemoteFile
from oprel.formats.gguf import GGUFFile
from oprel.formats.headers.remote import Fetch, fetched_header, read_remote, read_start
from oprel.formats.headers.roles import Role, Start
from oprel.formats.hugging_face.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES

logger = logging.getLogger(__name__)

SECONDS = 30.0
START_SECONDS = 5.0  # for the start of a file, which names can stand in for
MOST_BYTES = 64 * 1024**2  # of a file other than weights; a large tokenizer has half of it


class Starts:
    """The starts of a repository's files, each read once. Where one cannot be read, names are believed.

    `content` is where a file is once it was downloaded: then it is read there.
    """

    def __init__(self, files: Mapping[str, RemoteFile], content: Callable[[RemoteFile], Path]) -> None:
        self._files, self._content = files, content
        self._starts: dict[str, Start | None] = {}

    def role(self, variant: Variant) -> Role:
        """What the variant is by its header. Blocks."""
        start = self._of(variant.files[0].path)
        return start.role if start else Role.MODEL

    def projector_for(self, variant: Variant, files: Iterable[RepoFile]) -> RepoFile | None:
        """Its projector. Of those of several models, the one that makes vectors of the variant's length. Blocks."""
        projectors = projectors_for(files, variant)
        if not are_of_one_model(projectors) and (width := self._width(variant.files[0])):
            return next((file for file in projectors if self._width(file) == width), projectors[0])
        return next(iter(projectors), None)

    def _width(self, file: RepoFile) -> int:
        start = self._of(file.path)
        return start.width if start else 0

    def _of(self, path: str) -> Start | None:
        if path not in self._starts:
            file = self._files[path]
            self._starts[path] = _start(file, self._content(file))
        return self._starts[path]


def _start(file: RemoteFile, content: Path) -> Start | None:
    try:
        if content.is_file():
            return read_start(partial(_local_range, content), file.name, file.size_bytes)
        with open_blocking_client(file.headers, START_SECONDS) as client:
            return read_start(partial(_first_range, client, file), file.name, file.size_bytes)
    except (DownloadError, InvalidModelError, OSError) as error:
        logger.info("%s is taken for what its name says: %s", file.name, error)
        return None


def _local_range(path: Path, start: int, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(end - start)


def read_header(file: RemoteFile) -> GGUFFile:
    """The header of a GGUF file, of the first one for shards. Blocks. Raises DownloadError, InvalidModelError."""
    with _client(file) as client:
        return read_remote(partial(_range, client, file), file.name, file.size_bytes)


def write_skeleton(files: Sequence[RemoteFile], folder: Path) -> None:
    """Write the files into `folder`; of weights only the header, followed by a hole of the remaining size.

    The result can be inspected like the model, and takes only the disk space of what was fetched. Blocks. Raises
    DownloadError, OSError.
    """
    for file in files:
        with _client(file) as client:
            content = _without_weights(client, file)
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as target:
            target.write(content)
            target.truncate(file.size_bytes)


def _without_weights(client: httpx.Client, file: RemoteFile) -> bytes:
    fetch: Fetch = partial(_range, client, file)
    match Path(file.name).suffix.lower():
        case ".gguf":
            return fetched_header(fetch, file.name, file.size_bytes)
        case ".safetensors":
            start = fetch(0, min(LENGTH_BYTES, file.size_bytes))
            length = min(int.from_bytes(start, "little"), MAX_HEADER_BYTES, file.size_bytes - len(start))
            return start + (fetch(len(start), len(start) + length) if length else b"")
        case _:
            return _whole(client, file)


def _client(file: RemoteFile) -> httpx.Client:
    # On a redirect to another host, httpx drops the token.
    return open_blocking_client(file.headers, SECONDS)


def _range(client: httpx.Client, file: RemoteFile, start: int, end: int) -> bytes:
    return patiently_blocking(partial(_once, client, file, start, end))


def _first_range(client: httpx.Client, file: RemoteFile, start: int, end: int) -> bytes:
    """A range of the file, requested once: the download that follows has the patience."""
    return _once(client, file, start, end)


def _whole(client: httpx.Client, file: RemoteFile) -> bytes:
    """The file up to MOST_BYTES."""
    return patiently_blocking(partial(_once, client, file, 0, MOST_BYTES, is_part=False))


def _once(client: httpx.Client, file: RemoteFile, start: int, end: int, *, is_part: bool = True) -> bytes:
    """The bytes from `start` to `end`, or to the end of the file. The server may ignore ranges and send it whole."""
    headers = {"Range": f"bytes={start}-{end - 1}"} if is_part else {}
    try:
        with client.stream("GET", file.url, headers=headers) as answer:
            first = _first_byte(answer, file, start)
            content = bytearray()
            for piece in answer.iter_bytes():
                skipped = min(len(piece), start - first)
                first += skipped
                content += piece[skipped:]
                if len(content) >= end - start:
                    break
    except httpx.HTTPError as error:
        raise unreachable(f"{file.name} cannot be read: {reason(error)}", error) from error
    return bytes(content[: end - start])


def _first_byte(answer: httpx.Response, file: RemoteFile, start: int) -> int:
    """Where in the file an answer begins: 0 or `start`. Raises DownloadError for one that is of no use."""
    status, host = answer.status_code, answer.url.host
    if is_passing(status):
        message = f"{file.name} cannot be read: {host} answered HTTP {status}"
        raise busy(message, status, answer.headers)
    if is_page(answer) and size_of(answer) != file.size_bytes:
        raise Unreachable(f"{file.name} cannot be read: {host} answered with a web page", LOGIN_PAGE)
    if status == HTTPStatus.OK:
        return 0
    if status != HTTPStatus.PARTIAL_CONTENT:
        raise DownloadError(f"{file.name} cannot be read: {host} answered HTTP {status}")
    if not answer.headers.get("content-range", "").startswith(f"bytes {start}-"):
        error = Unreachable(f"{file.name} cannot be read: {host} did not send the requested part of the file")
        error.is_momentary = True
        raise error
    return start
