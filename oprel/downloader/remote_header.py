"""Fetches the header of a remote model with range requests, without the weights."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx

from oprel.core.exceptions import DownloadError
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.network.clients import open_blocking_client
from oprel.downloader.network.described import LOGIN_PAGE, is_page, size_of
from oprel.downloader.network.failures import reason
from oprel.downloader.network.retries import busy, patiently_blocking, unreachable
from oprel.downloader.source import RemoteFile
from oprel.formats.gguf import GGUFFile
from oprel.formats.headers.remote import Fetch, fetched_header, read_remote
from oprel.formats.hugging_face.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES

SECONDS = 30.0
MOST_BYTES = 64 * 1024**2  # of a file other than weights; a large tokenizer has half of it


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
    match Path(file.name).suffix:
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
