"""HTTP range requests for one file: redirects, and what each answer means for the transfer."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import anyio
import httpx

from oprel.core.exceptions import DownloadError
from oprel.downloader.backoff import LONGEST_PROMISE, Unreachable, is_passing, retry_after
from oprel.downloader.network.described import LOGIN_PAGE, is_page, size_of
from oprel.downloader.network.failures import reason
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.segments import Version, host_of

REDIRECTS = 8
FINAL = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)  # in any form
_XET_HASH = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class TryAgain(Exception):
    """The request failed, but a retry may succeed. `seconds` is the wait that the server asks for."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


class Silent(TryAgain):
    """The server sent nothing for a long time."""


class LoginRefused(DownloadError):
    """There is no login, it does not suffice, or it has expired."""


class NoRanges(Exception):
    """The server sends whole files only."""


class Changed(Exception):
    """The file has changed since the transfer began."""


@dataclass(frozen=True)
class XetPlace:
    """A file in Xet storage: its hash there, and the URL for tokens with the headers to send."""

    hash: str
    tokens_url: str
    headers: Mapping[str, str] = field(repr=False)  # may have a token


class InXetOnly(DownloadError):
    """The file is not available over HTTP, but in Xet storage at `place`."""

    def __init__(self, error: DownloadError, place: XetPlace) -> None:
        super().__init__(error.message, *error.resolution_steps)
        self.place = place


@dataclass(frozen=True)
class Timeouts:
    """In seconds: until the answer's header arrives, and between two pieces of its body."""

    header: float
    stall: float


class RangeRequests:
    """Requests for the bytes of `file`. `version` is completed from the answers."""

    def __init__(self, client: httpx.AsyncClient, file: RemoteFile, timeouts: Timeouts) -> None:
        self.version = Version(file.size_bytes, file.sha256)
        self.answered = anyio.Event()  # the server is known to support ranges
        self._client = client
        self._file = file
        self._timeouts = timeouts
        self._location = ""  # URL of the last answer, to skip the redirects
        self._refused = False  # by the address that the file's own redirects to, at the last request
        self._ignored = False  # at the last request for a range
        self._whole: httpx.Response | None = None  # the answer of a server that ignores ranges
        self._xet: XetPlace | None = None

    @asynccontextmanager
    async def range(self, first: int, last: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes from `first` to `last`. It and the iteration raise TryAgain, NoRanges, Changed, DownloadError."""
        async with self._answer(f"bytes={first}-{last}") as response:
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                self._check_ranges_are_ignored()
                self._whole = self._whole or response
                raise NoRanges
            self._check_range(response, first, last)
            self._ignored = False
            self.answered.set()
            yield response.aiter_raw()

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The whole file. Raises the same as `range` except NoRanges.

        The answer to the request for a range that led here is used first: else its bytes would come twice.
        """
        kept, self._whole = self._whole, None
        async with self._answer("", kept) as response:
            length = response.headers.get("content-length", "")
            if length.isdigit() and int(length) != self._file.size_bytes:
                raise self._other_size(length)
            yield response.aiter_raw()

    async def aclose(self) -> None:
        """End an answer that was kept and not used."""
        if self._whole:
            await self._whole.aclose()

    @asynccontextmanager
    async def _answer(self, wanted: str, kept: httpx.Response | None = None) -> AsyncIterator[httpx.Response]:
        try:
            response = kept or await self._ask(wanted)
            try:
                yield response
            finally:
                if response is not self._whole:
                    await response.aclose()
        except httpx.TimeoutException as error:
            self._location = ""
            raise Silent(f"{self._host} sent nothing for {self._timeouts.stall:.0f} s") from error
        except httpx.TransportError as error:
            raise self._again(f"the connection failed: {reason(error)}") from error
        except httpx.InvalidURL as error:
            raise DownloadError(f"{self._host} redirects to an invalid address: {error}") from error

    async def _ask(self, wanted: str) -> httpx.Response:
        """The answer, fully checked except for its range."""
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
            self._xet = self._xet or self._xet_place(response)
            if not response.has_redirect_location:
                return response
            await response.aclose()
            target = url.join(response.headers["location"])
            if url.scheme == "https" and target.scheme != "https":
                raise DownloadError(
                    f"{url.host} redirects to {target.host} without encryption, which is not allowed", fault="security"
                )
            url = target
        raise DownloadError(f"{self._host} redirects in a loop", "Check the address.")

    async def _send(self, url: httpx.URL, wanted: str) -> httpx.Response:
        headers = dict[str, str]()
        if (url.scheme, url.netloc) == _origin(self._file.url):
            headers |= self._file.headers
        if wanted:
            headers["Range"] = wanted
            is_told_by_etag = self.version.host == host_of(str(url)) and not self.version.sha256
            if is_told_by_etag and not self.version.etag.startswith("W/"):
                headers["If-Range"] = self.version.etag
        timeout = httpx.Timeout(self._timeouts.stall)
        request = self._client.build_request("GET", url, headers=headers, timeout=timeout)
        try:
            with anyio.fail_after(self._timeouts.header):
                return await self._client.send(request, stream=True, follow_redirects=False)
        except TimeoutError:
            self._location = ""
            raise Silent(f"{url.host} did not answer within {self._timeouts.header:.0f} s") from None

    def _check_status(self, response: httpx.Response) -> None:
        try:
            check_status(response, self._file.name)
        except TryAgain:
            self._location = ""
            raise
        except LoginRefused as error:
            if str(response.url) != self._file.url and not self._refused:
                self._refused = True  # the signature of an address expires
                raise self._again(error.message) from None
            raise
        except DownloadError as error:
            if self._location:  # the redirected address has expired; start again at the first one
                raise self._again(error.message) from None
            if self._xet and response.status_code not in FINAL:
                raise InXetOnly(error, self._xet) from None
            raise
        self._refused = False
        if is_page(response) and size_of(response) != self._file.size_bytes:
            raise self._again(f"{response.url.host} answered with a web page instead of the file. {LOGIN_PAGE}")

    def _xet_place(self, response: httpx.Response) -> XetPlace | None:
        """The Xet location in a hub's answer, redirects included (huggingface.co/docs/xet, "Authentication")."""
        file_hash, links = response.headers.get("x-xet-hash", ""), response.links
        route = links.get("xet-auth", {}).get("url") or response.headers.get("x-xet-refresh-route", "")
        if not (route and _XET_HASH.fullmatch(file_hash)):
            return None
        url = response.url.join(route)
        is_ours = _origin(str(url)) == _origin(self._file.url)
        return XetPlace(file_hash, str(url), self._file.headers if is_ours else {})

    def _check_version(self, response: httpx.Response) -> None:
        etag = response.headers.get("etag") or response.headers.get("last-modified", "")
        version = replace(self.version, etag=etag, host=host_of(str(response.url)))
        if not version.agrees(self.version):
            raise Changed(f"{self._file.name} has changed at {response.url.host} since the transfer began")
        if etag and not self.version.etag:
            self.version = version

    def _check_ranges_are_ignored(self) -> None:
        """Raises TryAgain the first time that a server does so which did not before: it may be one of many nodes."""
        if self.answered.is_set() and not self._ignored:
            self._ignored = True
            raise self._again(f"{self._host} sent the whole file instead of a part")

    def _check_range(self, response: httpx.Response, first: int, last: int) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or (int(match[1]), int(match[2])) != (first, last):
            raise self._again(f"{response.url.host} did not send the requested part of the file")
        if match[3] not in ("*", str(self._file.size_bytes)):
            raise self._other_size(match[3])

    def _other_size(self, size: str) -> DownloadError:
        return DownloadError(
            f"{self._file.name} has {size} bytes at {self._host}, not {self._file.size_bytes} as expected",
            "It may have just changed there: try again.",
        )

    def _again(self, why: str, seconds: float | None = None) -> TryAgain:
        self._location = ""
        return TryAgain(why, seconds)

    @property
    def _host(self) -> str:
        return httpx.URL(self._file.url).host


def check_status(response: httpx.Response, name: str) -> None:
    """Raises TryAgain, Changed or DownloadError for a failed request."""
    status, host = response.status_code, response.url.host
    message = f"cannot download {name} from {host} (HTTP {status})"
    match status:
        case HTTPStatus.OK | HTTPStatus.PARTIAL_CONTENT:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            step = "Log in with `oprel hf login`, and accept the model's terms on its page."
            raise LoginRefused(message, step, fault="authentication")
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            raise DownloadError(message, "The file does not exist: check the name.", fault="not_found")
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise Changed(message)
    if not is_passing(status):
        raise DownloadError(message, "Check the address.")
    seconds = retry_after(response.headers.get("retry-after", ""), time.time())
    if seconds is not None and seconds > LONGEST_PROMISE:
        later = Unreachable(f"{host} answered HTTP {status} and asks to wait {seconds:.0f} s")
        later.seconds = seconds
        raise later
    raise TryAgain(f"{host} answered HTTP {status}", seconds)


def _origin(url: str) -> tuple[str, bytes]:
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.netloc
