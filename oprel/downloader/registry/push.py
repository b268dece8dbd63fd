"""A model given to a registry: its blobs, as far as the registry lacks them, and then the manifest that names them."""

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

CHUNK_BYTES = 16 * 2**20  # that one request carries; progress moves, and a broken one is repeated, by so much
TRIES = 5  # in a row that bring nothing
FIRST_WAIT = 0.5  # s


@dataclass(frozen=True)
class Blob:
    """A layer, and where its bytes are: a file, or here."""

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
    """How many bytes of a layer the registry has."""

    layer: Layer
    done_bytes: int


async def push(registry: Registry, config: Blob, blobs: Sequence[Blob]) -> AsyncGenerator[Pushed, None]:
    """Give a model of these blobs to the registry, telling of each step. Raises DownloadError, OSError."""
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
    known = await registry.ask("HEAD", registry.url(f"blobs/{blob.layer.digest}"), follow_redirects=True)
    if not known.is_success:
        location, done, failures = await _begun(registry), 0, 0
        while done < blob.layer.size_bytes:
            try:
                if failures:
                    location, done = await _asked_again(registry, location)
                location, done = await _sent(registry, location, await _chunk(blob, done), done)
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
        raise OprelError(f"{blob.layer.digest} became shorter while it was sent", "Push the model again.")
    return chunk


async def _begun(registry: Registry) -> httpx.URL:
    """Where a new upload goes on."""
    answer = await registry.ask("POST", registry.url("blobs/uploads/"), headers={"Content-Length": "0"})
    _check(answer, registry, "an upload")
    return _location(registry, answer)


async def _sent(registry: Registry, location: httpx.URL, chunk: bytes, done: int) -> tuple[httpx.URL, int]:
    """Where the upload goes on after this chunk, and how much of it is there then."""
    headers = {"Content-Range": f"{done}-{done + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
    answer = await registry.ask("PATCH", location, headers=headers, content=chunk)
    _check(answer, registry, "a part of a file")
    return _location(registry, answer), done + len(chunk)


async def _asked_again(registry: Registry, location: httpx.URL) -> tuple[httpx.URL, int]:
    """Where the upload goes on after a failure, and how much of it is there: nothing of one that is forgotten."""
    answer = await registry.ask("GET", location)
    if answer.status != HTTPStatus.NO_CONTENT:
        return await _begun(registry), 0
    last = answer.headers.get("range", "").rpartition("-")[2]
    return _location(registry, answer), int(last) + 1 if last.isdecimal() and int(last) else 0


async def _finish(registry: Registry, location: httpx.URL, layer: Layer) -> None:
    answer = await registry.ask("PUT", location.copy_merge_params({"digest": layer.digest}), content=b"")
    _check(answer, registry, layer.digest)


def _location(registry: Registry, answer: RegistryReply) -> httpx.URL:
    try:
        return registry.url(answer.headers["location"])
    except (KeyError, httpx.InvalidURL):
        raise DownloadError(f"the registry {registry.origin.host} does not say where an upload goes on") from None


def _check(answer: RegistryReply, registry: Registry, what: str) -> None:
    if answer.is_success:
        return
    try:
        told = f": {json.loads(answer.content)['errors'][0]['message']}"
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        told = ""
    raise DownloadError(
        f"the registry {registry.origin.host} does not take {what} (HTTP {answer.status}{told})",
        "May you push there? `docker login` helps where it wants to know who you are.",
    )
