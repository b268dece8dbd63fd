"""One file's server: each request to it, the redirects on the way, and what its answer means for the transfer."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus

import anyio
import httpx

from oprel.core.exceptions import DownloadError
from oprel.downloader.backoff import LONGEST_PROMISE, retry_after
from oprel.downloader.connections import reason
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.segments import Version, host_of

REDIRECTS = 8
NOT_NOW = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
FINAL = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)  # in any form
_XET_HASH = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class TryAgain(Exception):
    """The request failed in a way in which the next may not. `seconds` is how long the server asks us to wait."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class NoRanges(Exception):
    """The server sends whole files only."""


class Changed(Exception):
    """The file is another one than when the transfer began."""


@dataclass(frozen=True)
class XetPlace:
    """Where a hub has a file in Xet storage: its hash there, and the URL that gives tokens, with what to send along."""

    hash: str
    tokens_url: str
    headers: Mapping[str, str]


class InXetOnly(DownloadError):
    """The file is not to be had over HTTP, but there is `place` to read it from."""

    def __init__(self, error: DownloadError, place: XetPlace) -> None:
        super().__init__(error.message, *error.resolution_steps)
        self.place = place


@dataclass(frozen=True)
class Timeouts:
    """In seconds: until an answer begins, and between two pieces of it."""

    header: float
    stall: float


class Asking:
    """Requests for the bytes of `file`. `version` grows with what the answers tell."""

    def __init__(self, client: httpx.AsyncClient, file: RemoteFile, timeouts: Timeouts) -> None:
        self.version = Version(file.size_bytes, file.sha256)
        self.answered = anyio.Event()  # ranges are known to be served
        self._client = client
        self._file = file
        self._timeouts = timeouts
        self._location = ""  # where the last answer came from: spares the redirects
        self._xet: XetPlace | None = None

    @asynccontextmanager
    async def range(self, first: int, last: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from `first` to `last`. Raises TryAgain, NoRanges, Changed, DownloadError; so does the reading."""
        async with self._answer(f"bytes={first}-{last}") as response:
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                raise NoRanges
            self._check_range(response, first, last)
            self.answered.set()
            yield response.aiter_raw()

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file from its beginning. Raises as `range`, but for NoRanges."""
        async with self._answer("") as response:
            length = response.headers.get("content-length", "")
            if length.isdigit() and int(length) != self._file.size_bytes:
                raise self._other_size(length)
            yield response.aiter_raw()

    @asynccontextmanager
    async def _answer(self, wanted: str) -> AsyncIterator[httpx.Response]:
        try:
            response = await self._ask(wanted)
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TimeoutException as error:
            raise self._again(f"{self._host} sent nothing for {self._timeouts.stall:.0f} s") from error
        except httpx.TransportError as error:
            raise self._again(f"the connection broke: {reason(error)}") from error
        except httpx.InvalidURL as error:
            raise DownloadError(f"{self._host} sends us to an address that is none: {error}") from error

    async def _ask(self, wanted: str) -> httpx.Response:
        """The answer, checked but for its range."""
        response = await self._sent(wanted)
        try:
            self._check_status(response)
            self._check_version(response)
        except BaseException:
            await response.aclose()
            raise
        self._location = str(response.url)
        return response

    async def _sent(self, wanted: str) -> httpx.Response:
        url = httpx.URL(self._location or self._file.url)
        for _ in range(REDIRECTS):
            response = await self._send(url, wanted)
            self._xet = self._xet or self._told_xet(response)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            target = url.join(response.headers["location"])
            if url.scheme == "https" and target.scheme != "https":
                raise DownloadError(f"{url.host} sends us to {target.host} without encryption, which is not followed")
            url = target
        raise DownloadError(f"{self._host} sends us in circles", "Is the address right?")

    async def _send(self, url: httpx.URL, wanted: str) -> httpx.Response:
        headers = {"Accept-Encoding": "identity"}
        if (url.scheme, url.netloc) == _origin(self._file.url):
            headers |= self._file.headers
        if wanted:
            headers["Range"] = wanted
            if self.version.host == host_of(str(url)) and not self.version.etag.startswith("W/"):
                headers["If-Range"] = self.version.etag
        timeout = httpx.Timeout(self._timeouts.stall)
        request = self._client.build_request("GET", url, headers=headers, timeout=timeout)
        try:
            with anyio.fail_after(self._timeouts.header):
                return await self._client.send(request, stream=True, follow_redirects=False)
        except TimeoutError:
            raise self._again(f"{url.host} did not answer within {self._timeouts.header:.0f} s") from None

    def _check_status(self, response: httpx.Response) -> None:
        try:
            check_status(response, self._file.name)
        except TryAgain:
            self._location = ""
            raise
        except DownloadError as error:
            if self._location:  # an address that was good for a while; the first one leads to the next
                raise self._again(error.message) from None
            if self._xet and response.status_code not in FINAL:
                raise InXetOnly(error, self._xet) from None
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            raise DownloadError(f"{response.url.host} sends {self._file.name} compressed, though not asked to")

    def _told_xet(self, response: httpx.Response) -> XetPlace | None:
        """What a hub says in its answer, a redirect included (huggingface.co/docs/xet, "Authentication")."""
        found, links = response.headers.get("x-xet-hash", ""), response.links
        told = links.get("xet-auth", {}).get("url") or response.headers.get("x-xet-refresh-route", "")
        if not (told and _XET_HASH.fullmatch(found)):
            return None
        url = response.url.join(told)
        is_ours = _origin(str(url)) == _origin(self._file.url)
        return XetPlace(found, str(url), self._file.headers if is_ours else {})

    def _check_version(self, response: httpx.Response) -> None:
        etag = response.headers.get("etag") or response.headers.get("last-modified", "")
        found = replace(self.version, etag=etag, host=host_of(str(response.url)))
        if not found.agrees(self.version):
            raise Changed(f"{self._file.name} has changed at {response.url.host} since the transfer began")
        if etag and not self.version.etag:
            self.version = found

    def _check_range(self, response: httpx.Response, first: int, last: int) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or (int(match[1]), int(match[2])) != (first, last):
            raise self._again(f"{response.url.host} sent another part of the file than was asked for")
        if match[3] not in ("*", str(self._file.size_bytes)):
            raise self._other_size(match[3])

    def _other_size(self, told: str) -> DownloadError:
        return DownloadError(
            f"{self._file.name} has {told} bytes at {self._host}, and not {self._file.size_bytes} as was told",
            "It may have changed there just now: ask again.",
        )

    def _again(self, why: str, seconds: float | None = None) -> TryAgain:
        self._location = ""
        return TryAgain(why, seconds)

    @property
    def _host(self) -> str:
        return httpx.URL(self._file.url).host


def check_status(response: httpx.Response, name: str) -> None:
    """Raises TryAgain, Changed, or DownloadError for an answer that is not what was asked for."""
    status, host = response.status_code, response.url.host
    told = f"{name} cannot be had from {host} (HTTP {status})"
    match status:
        case HTTPStatus.OK | HTTPStatus.PARTIAL_CONTENT:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            raise DownloadError(told, "Log in with `oprel hf login`, and accept the model's terms on its page.")
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            raise DownloadError(told, "There is no such file: check the name.")
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise Changed(told)
    if status not in NOT_NOW and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DownloadError(told, "Is the address right?")
    seconds = retry_after(response.headers.get("retry-after", ""), time.time())
    if seconds is not None and seconds > LONGEST_PROMISE:
        raise DownloadError(f"{host} answered HTTP {status}, and asks to come again in {seconds:.0f} s")
    raise TryAgain(f"{host} answered HTTP {status}", seconds)


def _origin(url: str) -> tuple[str, bytes]:
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.netloc
