"""Fetches the header of a remote model with range requests, without the weights."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import httpx

from oprel.core.exceptions import DownloadError
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.network.clients import open_blocking_client
from oprel.downloader.network.failures import reason
from oprel.downloader.network.retries import BROKEN, busy, patiently_blocking
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
            return _answer(client, file, MOST_BYTES)


def _client(file: RemoteFile) -> httpx.Client:
    # On a redirect to another host, httpx drops the token.
    return open_blocking_client(file.headers, SECONDS)


def _range(client: httpx.Client, file: RemoteFile, start: int, end: int) -> bytes:
    return _answer(client, file, end - start, f"bytes={start}-{end - 1}")


def _answer(client: httpx.Client, file: RemoteFile, most_bytes: int, range: str = "") -> bytes:
    """The file, or a range of it; any excess bytes are ignored."""
    return patiently_blocking(partial(_once, client, file, most_bytes, range))


def _once(client: httpx.Client, file: RemoteFile, most_bytes: int, range: str) -> bytes:
    headers, wanted = ({"Range": range}, httpx.codes.PARTIAL_CONTENT) if range else ({}, httpx.codes.OK)
    try:
        with client.stream("GET", file.url, headers=headers) as answer:
            if is_passing(answer.status_code):
                message = f"{file.name} cannot be read: {answer.url.host} answered HTTP {answer.status_code}"
                raise busy(message, answer.status_code, answer.headers)
            if answer.status_code != wanted:
                raise DownloadError(
                    f"{file.name} cannot be read{' in part' if range else ''}: HTTP {answer.status_code}"
                )
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) >= most_bytes:
                    break
    except BROKEN as error:
        failure = Unreachable(f"{file.name} cannot be read: {reason(error)}")
        failure.is_momentary = True
        raise failure from error
    except httpx.HTTPError as error:
        raise DownloadError(f"{file.name} cannot be read: {reason(error)}") from error
    return bytes(content[:most_bytes])
