"""The header of a model that is not here: fetched by ranges, without the weights."""

import httpx

from oprel.core.exceptions import DownloadError
from oprel.downloader.source import RemoteFile
from oprel.formats.gguf import GGUFFile
from oprel.formats.remote import read_remote

SECONDS = 30.0


def read_header(file: RemoteFile) -> GGUFFile:
    """Of a GGUF file, the first where it comes in shards. Blocks. Raises DownloadError, InvalidModelError."""
    # httpx leaves a token out where it is led to another host.
    with httpx.Client(headers=dict(file.headers), timeout=SECONDS, follow_redirects=True) as client:
        return read_remote(lambda start, end: _range(client, file, start, end), file.name, file.size_bytes)


def _range(client: httpx.Client, file: RemoteFile, start: int, end: int) -> bytes:
    try:
        with client.stream("GET", file.url, headers={"Range": f"bytes={start}-{end - 1}"}) as answer:
            if answer.status_code != httpx.codes.PARTIAL_CONTENT:
                raise DownloadError(f"{file.name} cannot be read in part: HTTP {answer.status_code}")
            content = bytearray()
            for piece in answer.iter_bytes():
                content += piece
                if len(content) >= end - start:  # whoever sends more is not listened to
                    break
    except httpx.HTTPError as error:
        raise DownloadError(f"{file.name} cannot be read: {str(error) or type(error).__name__}") from error
    return bytes(content[: end - start])
