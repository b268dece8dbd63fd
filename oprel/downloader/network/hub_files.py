"""What a mirror of the hub says of files in its answers to HEAD, if its listing has nothing but their names."""

import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from oprel.core.exceptions import DownloadError, OprelError
from oprel.downloader.backoff import Unreachable
from oprel.downloader.network.hub_access import hub_errors
from oprel.downloader.network.retries import patiently_blocking
from oprel.downloader.source import RemoteFile

AT_ONCE = 8  # requests
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def described(files: Sequence[RemoteFile], endpoint: str, repository: str, seconds: float) -> list[RemoteFile]:
    """The files with size and hash, as huggingface_hub reads them. Blocks, `seconds` at most for each answer.

    An ETag that is no hash is replaced by one of itself, as files are stored by it. A file that the mirror refuses is
    left out. Raises DownloadError, also if it refuses all.
    """
    ask = partial(_described_or_refused, endpoint, repository, seconds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, files))
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


def _described(endpoint: str, repository: str, seconds: float, file: RemoteFile) -> RemoteFile:
    from huggingface_hub import get_hf_file_metadata

    with hub_errors(endpoint, repository):
        answer = get_hf_file_metadata(
            file.url, token=False, headers=dict(file.headers), timeout=seconds, endpoint=endpoint
        )
    if answer.size is None:
        raise DownloadError(f"{endpoint} does not state the size of {file.name}", "Use another endpoint: hf_endpoint.")
    etag = answer.etag or ""
    sha256 = etag if _SHA256.fullmatch(etag) else ""
    key = f"{file.url} {answer.size} {etag}"
    etag = etag if _HASH.fullmatch(etag) else hashlib.sha256(key.encode()).hexdigest()
    return replace(file, size_bytes=answer.size, sha256=sha256, etag=etag)
