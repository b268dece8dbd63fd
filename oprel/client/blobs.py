"""Reads files for upload to the daemon, which names them by their digest."""

import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio.to_thread

CHUNK = 8 * 1024**2  # bytes


def digest_of(path: str | Path) -> str:
    """The digest of a file's content. Raises OSError."""
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def length(path: str | Path) -> dict[str, str]:
    """The Content-Length header: without it the upload would use chunked encoding."""
    return {"Content-Length": str(os.path.getsize(path))}


def chunks(path: str | Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


async def chunks_async(path: str | Path) -> AsyncIterator[bytes]:
    pieces = chunks(path)
    while chunk := await anyio.to_thread.run_sync(next, pieces, b""):
        yield chunk
