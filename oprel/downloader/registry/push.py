"""Pushes a model to a registry: first the blobs that the registry lacks, then the manifest."""

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from oprel.core.exceptions import DownloadError, OprelError
from oprel.downloader.backoff import backoff
from oprel.downloader.registry.client import Registry, RegistryReply
from oprel.formats.ollama_manifest import MANIFEST_TYPE, Layer

CHUNK_BYTES = 16 * 2**20  # per request; also the granularity of progress and retries
TRIES = 5  # consecutive failures
FIRST_WAIT = 0.5  # s


@dataclass(frozen=True)
class Blob:
    """A layer and its content: the path of a file, or the bytes."""

    layer: Layer
    content: Path | bytes

    def read(self, offset: int) -> bytes:
        """The next chunk. Blocks. Raises OSError."""
        if isinstance(self.content, bytes):
            return self.content[offset : offset + CHUNK_BYTES]
        with self.content.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)


@dataclass(frozen=True)
class Pushed:
    """Progress: how many bytes of a layer the registry has."""

    layer: Layer
    done_bytes: int


async def push(registry: Registry, config: Blob, blobs: Sequence[Blob]) -> AsyncGenerator[Pushed, None]:
    """Push a model made of these blobs, yielding each step. Raises DownloadError, OSError."""
    for blob in (*blobs, config):
        async for step in _push_blob(registry, blob):
            yield step
    entries = [_entry(blob.layer) for blob in blobs]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": _entry(config.layer), "layers": entries}
    answer = await registry.ask(
        "PUT",
        registry.url(f"manifests/{registry.origin.tag}"),
        headers={"Content-Type": MANIFEST_TYPE},
        content=json.dumps(manifest).encode(),
    )
    _check(answer, registry, "the manifest")


def _entry(layer: Layer) -> dict[str, str | int]:
    return {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}


async def _push_blob(registry: Registry, blob: Blob) -> AsyncGenerator[Pushed, None]:
    existing = await registry.ask("HEAD", registry.url(f"blobs/{blob.layer.digest}"), follow_redirects=True)
    if not existing.is_success:
        location, done, failures = await _start_upload(registry), 0, 0
        while done < blob.layer.size_bytes:
            try:
                if failures:
                    location, done = await _query_upload(registry, location)
                location, done = await _send_chunk(registry, location, await _chunk(blob, done), done)
                failures = 0
            except DownloadError:
                if (failures := failures + 1) == TRIES:
                    raise
                await anyio.sleep(backoff(failures, FIRST_WAIT))
            yield Pushed(blob.layer, done)
        await _finish(registry, location, blob.layer)
    yield Pushed(blob.layer, blob.layer.size_bytes)


async def _chunk(blob: Blob, done: int) -> bytes:
    chunk = await anyio.to_thread.run_sync(blob.read, done)
    if not chunk and done < blob.layer.size_bytes:
        raise OprelError(f"{blob.layer.digest} was truncated during the upload", "Push the model again.")
    return chunk


async def _start_upload(registry: Registry) -> httpx.URL:
    """Start an upload and return its URL."""
    answer = await registry.ask("POST", registry.url("blobs/uploads/"), headers={"Content-Length": "0"})
    _check(answer, registry, "an upload")
    return _location(registry, answer)


async def _send_chunk(registry: Registry, location: httpx.URL, chunk: bytes, done: int) -> tuple[httpx.URL, int]:
    """Send a chunk; returns where the upload continues and how many bytes the registry has."""
    headers = {"Content-Range": f"{done}-{done + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
    answer = await registry.ask("PATCH", location, headers=headers, content=chunk)
    _check(answer, registry, "a part of a file")
    return _location(registry, answer), done + len(chunk)


async def _query_upload(registry: Registry, location: httpx.URL) -> tuple[httpx.URL, int]:
    """Where an upload continues after a failure, and how many bytes the registry has: 0 if it must start again."""
    answer = await registry.ask("GET", location)
    if answer.status != HTTPStatus.NO_CONTENT:
        return await _start_upload(registry), 0
    last = answer.headers.get("range", "").rpartition("-")[2]
    return _location(registry, answer), int(last) + 1 if last.isdecimal() and int(last) else 0


async def _finish(registry: Registry, location: httpx.URL, layer: Layer) -> None:
    answer = await registry.ask("PUT", location.copy_merge_params({"digest": layer.digest}), content=b"")
    _check(answer, registry, layer.digest)


def _location(registry: Registry, answer: RegistryReply) -> httpx.URL:
    """Where an upload continues: on the same host. The model's bytes go to no one whom the user did not name."""
    try:
        location = registry.url(answer.headers["location"])
    except (KeyError, httpx.InvalidURL):
        raise DownloadError(f"the registry {registry.origin.host} does not say where the upload continues") from None
    if (location.scheme, location.netloc) != (registry.base.scheme, registry.base.netloc):
        raise DownloadError(f"the registry {registry.origin.host} wants the upload to go to {location.host}")
    return location


def _check(answer: RegistryReply, registry: Registry, what: str) -> None:
    if answer.is_success:
        return
    try:
        detail = f": {json.loads(answer.content)['errors'][0]['message']}"
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        detail = ""
    raise DownloadError(
        f"the registry {registry.origin.host} does not accept {what} (HTTP {answer.status}{detail})",
        f"Check that you may push there, and log in with `docker login {registry.origin.host}`.",
    )
