"""Uploads one blob to a registry, in parts that continue after a failure, or in one request where parts are refused.

Source: github.com/opencontainers/distribution-spec, "Pushing blobs".
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import anyio
import anyio.to_thread
import httpx

from oprel.core.exceptions import DownloadError, OprelError
from oprel.downloader.backoff import LONGEST_PROMISE, Unreachable, backoff, is_passing
from oprel.downloader.network.retries import busy
from oprel.downloader.registry.client import Registry, RegistryReply
from oprel.formats.ollama_manifest import Layer

CHUNK_BYTES = 16 * 2**20  # per request; also the granularity of progress and retries
SMALLEST_CHUNK = 2**19  # bytes: a proxy before the registry may take no more than a MiB in one request
TRIES = 5  # consecutive failures
FIRST_WAIT = 0.5  # s
# Answers to the first part of registries that take only whole blobs.
ONLY_WHOLE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
# Answers to later parts that mean that the registry has other bytes than were sent, or has forgotten the upload.
OUT_OF_STEP = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


@dataclass(frozen=True)
class Blob:
    """A layer and its content: the path of a file, or the bytes."""

    layer: Layer
    content: Path | bytes

    def read(self, offset: int, count: int) -> bytes:
        """The next bytes. Blocks. Raises OSError, and OprelError if the file is shorter than it was."""
        if isinstance(self.content, bytes):
            chunk = self.content[offset : offset + count]
        else:
            with self.content.open("rb") as file:
                file.seek(offset)
                chunk = file.read(count)
        if not chunk and offset < self.layer.size_bytes:
            raise OprelError(f"{self.layer.digest} was truncated during the upload", "Push the model again.")
        return chunk


@dataclass(frozen=True)
class Pushed:
    """Progress: how many bytes of a layer the registry has. `waiting`: why the upload waits, "" if it does not."""

    layer: Layer
    done_bytes: int
    waiting: str = ""


@dataclass(frozen=True)
class _Place:
    """Where an upload continues, and how many bytes of it the registry has."""

    location: httpx.URL
    done_bytes: int = 0


class _OnlyWhole(Exception):
    """The registry takes no parts."""


class _TooLarge(Exception):
    """A part is larger than the registry, or a proxy before it, takes."""


async def upload(registry: Registry, blob: Blob, other: str) -> AsyncGenerator[Pushed, None]:
    """Upload a blob that the registry lacks, or take it from the repository `other` there. Yields each step.

    Raises DownloadError, OSError.
    """
    if not await _has(registry, blob.layer) and (place := await _place(registry, blob.layer, other)):
        try:
            async for step in _in_parts(registry, blob, place):
                yield step
        except _OnlyWhole:
            async for step in _whole(registry, blob):
                yield step
    yield Pushed(blob.layer, blob.layer.size_bytes)


async def _has(registry: Registry, layer: Layer) -> bool:
    answer = await registry.ask("HEAD", registry.url(f"blobs/{layer.digest}"), follow_redirects=True)
    return answer.is_success


async def _place(registry: Registry, layer: Layer, other: str) -> _Place | None:
    """Where to upload the blob; None if the registry took it from the repository `other`."""
    if other:
        url = registry.url("blobs/uploads/").copy_merge_params({"mount": layer.digest, "from": other})
        try:
            answer = await registry.ask("POST", url, headers={"Content-Length": "0"})
        except Unreachable:
            raise
        except DownloadError:  # this login may not read the other repository
            return await _new_place(registry)
        if answer.status == HTTPStatus.CREATED:
            return None
        if answer.status == HTTPStatus.ACCEPTED:
            return _Place(_location(registry, answer))
    return await _new_place(registry)


async def _new_place(registry: Registry) -> _Place:
    answer = await registry.ask("POST", registry.url("blobs/uploads/"), headers={"Content-Length": "0"})
    checked(answer, registry, "an upload")
    return _Place(_location(registry, answer))


async def _in_parts(registry: Registry, blob: Blob, place: _Place) -> AsyncGenerator[Pushed, None]:
    failures, chunk_bytes = 0, CHUNK_BYTES
    while place.done_bytes < blob.layer.size_bytes:
        try:
            if failures:
                place = await _resumed(registry, place)
            place = await _send_chunk(registry, blob, place, chunk_bytes)
            failures = 0
        except _TooLarge:
            chunk_bytes //= 4
            place = await _resumed(registry, place)
        except Unreachable as error:
            failures += 1
            seconds = _wait(failures, error)
            yield Pushed(blob.layer, place.done_bytes, error.message)
            await anyio.sleep(seconds)
        yield Pushed(blob.layer, place.done_bytes)
    await _finish(registry, place.location, blob.layer)


async def _whole(registry: Registry, blob: Blob) -> AsyncGenerator[Pushed, None]:
    """Upload in one request, again from the start after a failure."""

    async def pieces() -> AsyncIterator[bytes]:
        done = 0
        while done < blob.layer.size_bytes:
            piece = await anyio.to_thread.run_sync(blob.read, done, SMALLEST_CHUNK)
            done += len(piece)
            yield piece

    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.layer.size_bytes)}
    failures = 0
    while True:
        try:
            url = (await _new_place(registry)).location.copy_merge_params({"digest": blob.layer.digest})
            answer = await registry.ask("PUT", url, headers=headers, content=pieces, is_repeatable=False)
            _check_passing(answer, registry)
            checked(answer, registry, blob.layer.digest)
            return
        except Unreachable as error:
            failures += 1
            seconds = _wait(failures, error)
            yield Pushed(blob.layer, 0, error.message)
            await anyio.sleep(seconds)


def _wait(failures: int, error: Unreachable) -> float:
    """Seconds until the next attempt after `failures` in a row. Raises `error` if there is none."""
    if failures >= TRIES or error.seconds > LONGEST_PROMISE:
        raise error
    return max(backoff(failures, FIRST_WAIT), error.seconds)


async def _send_chunk(registry: Registry, blob: Blob, place: _Place, chunk_bytes: int) -> _Place:
    """Send the next part. Raises _OnlyWhole, _TooLarge, and Unreachable if another attempt may succeed."""
    done = place.done_bytes
    chunk = await anyio.to_thread.run_sync(blob.read, done, chunk_bytes)
    end = done + len(chunk)
    headers = {"Content-Range": f"{done}-{end - 1}", "Content-Type": "application/octet-stream"}
    answer = await registry.ask("PATCH", place.location, headers=headers, content=chunk, is_repeatable=False)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and chunk_bytes // 4 >= SMALLEST_CHUNK:
        raise _TooLarge
    if done == 0 and answer.status in ONLY_WHOLE:
        raise _OnlyWhole
    if answer.status in OUT_OF_STEP:
        raise Unreachable(f"the registry {registry.origin.host} lost the upload (HTTP {answer.status})")
    _check_passing(answer, registry)
    checked(answer, registry, "a part of a file")
    received = _received(answer)
    return _Place(_location(registry, answer), received if done < received < end else end)


async def _resumed(registry: Registry, place: _Place) -> _Place:
    """Where an upload continues after a failure: a new one if the registry knows nothing of it."""
    answer = await registry.ask("GET", place.location)
    if answer.status != HTTPStatus.NO_CONTENT:
        return await _new_place(registry)
    return _Place(_location(registry, answer) if "location" in answer.headers else place.location, _received(answer))


def _received(answer: RegistryReply) -> int:
    """How many bytes the registry has by its `Range`; "0-0" is what it says of none."""
    last = answer.headers.get("range", "").rpartition("-")[2]
    return int(last) + 1 if last.isdecimal() and int(last) else 0


async def _finish(registry: Registry, location: httpx.URL, layer: Layer) -> None:
    answer = await registry.ask("PUT", location.copy_merge_params({"digest": layer.digest}), content=b"")
    if answer.is_success or (answer.status == HTTPStatus.NOT_FOUND and await _has(registry, layer)):
        return  # an answer that was lost may have ended the upload already
    checked(answer, registry, layer.digest)


def _location(registry: Registry, answer: RegistryReply) -> httpx.URL:
    """Where an upload continues: on the same host. The model's bytes go to no one whom the user did not name.

    A registry behind a proxy that ends its encryption may name itself without: the user's address counts.
    """
    base = registry.base
    try:
        location = registry.url(answer.headers["location"])
    except (KeyError, httpx.InvalidURL):
        raise DownloadError(f"the registry {registry.origin.host} does not say where the upload continues") from None
    if (location.scheme, location.host) == ("http", base.host):
        location = location.copy_with(scheme=base.scheme, netloc=base.netloc)
    if (location.scheme, location.netloc) != (base.scheme, base.netloc):
        raise DownloadError(f"the registry {registry.origin.host} wants the upload to go to {location.host}")
    return location


def _check_passing(answer: RegistryReply, registry: Registry) -> None:
    """Raises Unreachable for an answer that says nothing about the next one."""
    if is_passing(answer.status):
        message = f"the registry {registry.origin.host} answered HTTP {answer.status}{answer.complaint}"
        raise busy(message, answer.status, answer.headers)


def checked(answer: RegistryReply, registry: Registry, what: str) -> None:
    """Raises DownloadError if the registry refused `what`."""
    if not answer.is_success:
        raise DownloadError(
            f"the registry {registry.origin.host} does not accept {what} (HTTP {answer.status}{answer.complaint})",
            f"Check that you may push there, and log in with `docker login {registry.origin.host}`.",
        )
