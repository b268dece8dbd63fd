"""Downloads single files by URL, together with the other parts of a split model."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread
import httpx

from oprel.core.exceptions import DownloadError, UnsupportedError
from oprel.core.names import UrlOrigin
from oprel.core.variants import SHARD
from oprel.downloader.backoff import Unreachable, backoff
from oprel.downloader.network.described import is_page, sha256_of, size_of, unquoted
from oprel.downloader.network.failures import is_unknown_host, reason
from oprel.downloader.network.waits import announce
from oprel.downloader.offers import Offer, together
from oprel.downloader.source import RemoteFile, checked_name
from oprel.downloader.transfer.ranges import Changed, Silent, TryAgain, check_status

ANSWER_SECONDS = 30.0
TRIES = 5


class Urls:
    """Puts files into `root`, each version of a file into its own folder."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        root: Path,
        *,
        headers: Callable[[str], Mapping[str, str]] = lambda url: {},
        seconds: float = ANSWER_SECONDS,
        first_wait: float = 0.5,
    ) -> None:
        """`headers`: what a URL's own host needs, such as the hub's token. A redirect to another host drops a token."""
        self._headers = headers
        self._client = client
        self._root = root
        self._seconds = seconds
        self._first_wait = first_wait

    async def offer(self, origin: UrlOrigin) -> Offer:
        """The model at a URL. Raises DownloadError, UnsupportedError, ValidationError."""
        files = [await self._probe(url) for url in _parts(origin.url)]
        return together(origin.url, files, self._root)

    async def _probe(self, url: str) -> RemoteFile:
        """Ask the server for a file's properties, with retries."""
        failures = 0
        while True:
            try:
                return await self._first_byte(url)
            except TryAgain as error:
                failures += 1
                if failures == TRIES:
                    step = "Check the URL and the network." if is_unknown_host(error) else "Try again later."
                    raise Unreachable(f"{urlsplit(url).hostname}: {error}", step) from error
                seconds = max(backoff(failures, self._first_wait), error.seconds or 0.0)
                announce(f"{urlsplit(url).hostname}: {error}", seconds, was_silent=isinstance(error, Silent))
                await anyio.sleep(seconds)

    async def _first_byte(self, url: str) -> RemoteFile:
        name = checked_name(unquote(urlsplit(url).path.rsplit("/", 1)[-1]))
        login = await anyio.to_thread.run_sync(self._headers, url)
        headers = {"Range": "bytes=0-0", **login}
        try:
            with anyio.fail_after(self._seconds):
                async with self._client.stream("GET", url, headers=headers, follow_redirects=True) as response:
                    return replace(_described(response, name, url), headers=login)
        except Changed:  # the file has no first byte
            raise UnsupportedError(f"{name} at {urlsplit(url).hostname} is empty", "Give the URL of a model.") from None
        except TimeoutError:
            raise Silent(f"no answer within {self._seconds:.0f} s") from None
        except httpx.HTTPError as error:
            raise TryAgain(f"cannot be reached: {reason(error)}") from error


def _described(response: httpx.Response, name: str, url: str) -> RemoteFile:
    check_status(response, name)
    if is_page(response):
        raise UnsupportedError(f"{url} is a web page, not a model", "Give the file's own URL.")
    if (size := size_of(response)) is None:
        raise DownloadError(f"{response.url.host} does not state the size of {name}", "Download it by other means.")
    etag = unquoted(response.headers.get("etag", ""))
    return RemoteFile(name=name, url=url, size_bytes=size, sha256=sha256_of(response), etag=etag)


def _parts(url: str) -> list[str]:
    """The URLs of all parts if `url` is a part of a split model, else `url`."""
    head, slash, name = url.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    shard = SHARD.fullmatch(stem)
    if shard is None or int(shard["count"]) > 1000:
        return [url]
    count = shard["count"]
    return [f"{head}{slash}{shard['stem']}-{number:05}-of-{count}{dot}{suffix}" for number in range(1, int(count) + 1)]
