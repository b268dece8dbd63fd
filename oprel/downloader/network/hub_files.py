"""What a mirror of the hub says of files in its answers to HEAD, if its listing has nothing but their names."""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from http import HTTPStatus

import httpx

from oprel.core.exceptions import DownloadError, OprelError
from oprel.downloader.backoff import Unreachable
from oprel.downloader.network.clients import open_blocking_client
from oprel.downloader.network.described import LOGIN_PAGE, etag_of, is_page, sha256_of, size_of
from oprel.downloader.network.hub_access import hub_errors
from oprel.downloader.network.retries import patiently_blocking
from oprel.downloader.source import RemoteFile

AT_ONCE = 8  # requests
NO_HEAD = (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def described(files: Sequence[RemoteFile], endpoint: str, repository: str, seconds: float) -> list[RemoteFile]:
    """The files with size and hash. Blocks, `seconds` at most for each answer.

    An ETag that is no hash is replaced by one of itself, as files are stored by it. A file that the mirror refuses is
    left out. Raises DownloadError, also if it refuses all.
    """
    ask = partial(_described_or_refused, endpoint, repository, seconds)
    jobs = [partial(copy_context().run, ask, file) for file in files]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda job: job(), jobs))
    present = [answer for answer in answers if isinstance(answer, RemoteFile)]
    refusals = [answer for answer in answers if isinstance(answer, OprelError)]
    if refusals and not present:
        raise refusals[0]
    return present


def _described_or_refused(endpoint: str, repository: str, seconds: float, file: RemoteFile) -> RemoteFile | OprelError:
    try:
        return patiently_blocking(partial(_described, endpoint, repository, seconds, file))
    except Unreachable:
        raise
    except OprelError as error:
        return error


def commit_of(files: Sequence[RemoteFile]) -> str:
    """The commit of a listing without one: it depends on the files alone."""
    return hashlib.sha1("".join(f"{file.name}\0{file.etag}\n" for file in files).encode()).hexdigest()


def _described(endpoint: str, repository: str, seconds: float, file: RemoteFile) -> RemoteFile:
    with hub_errors(endpoint, repository), open_blocking_client(file.headers, seconds) as client:
        answer = _answer(client, file.url)
    if is_page(answer):
        raise Unreachable(
            f"{answer.url.host} answered with a web page instead of {file.name}",
            LOGIN_PAGE,
        )
    size, etag = size_of(answer), etag_of(answer)
    if size is None:
        raise DownloadError(f"{endpoint} does not state the size of {file.name}", "Use another endpoint: hf_endpoint.")
    sha256 = sha256_of(answer) or (etag if _SHA256.fullmatch(etag) else "")
    key = f"{file.url} {size} {etag}"
    etag = sha256 or (etag if _HASH.fullmatch(etag) else hashlib.sha256(key.encode()).hexdigest())
    return replace(file, size_bytes=size, sha256=sha256, etag=etag)


def _answer(client: httpx.Client, url: str) -> httpx.Response:
    """The answer to HEAD, or where that is not allowed, to a request for the first byte."""
    from huggingface_hub.utils._http import hf_raise_for_status

    answer = client.head(url, follow_redirects=False)
    if answer.has_redirect_location and "x-linked-size" not in answer.headers:
        answer = client.head(url)
    if answer.status_code in NO_HEAD:
        with client.stream("GET", url, headers={"Range": "bytes=0-0"}) as answer:
            if answer.is_error:
                answer.read()
    if not answer.has_redirect_location:
        hf_raise_for_status(answer)
    return answer
