"""One file from elsewhere to here, whole and verified, however often it is interrupted."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from oprel.downloader.source import Progress, RemoteFile

MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """How a transfer behaves; times are in seconds.

    `segment_bytes` is what one request asks for, and so the most that is fetched again after a crash.
    `rate` is in bytes per second, 0 for no limit.
    """

    segments: int = 8
    segment_bytes: int = 16 * MIB
    header_timeout: float = 30.0
    stall_timeout: float = 30.0
    tries: int = 8
    rate: int = 0


def _unheard(progress: Progress) -> None:
    pass


async def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    client: httpx.AsyncClient,
    progress: Callable[[Progress], None] = _unheard,
    limits: Limits = Limits(),
) -> None:
    """Have `file` at `destination`, whole and verified.

    Partial state lies beside it as `destination.name + ".part"` and `".part.json"`, and is continued by the next call, of
    any process. Raises DownloadError.
    """
    raise NotImplementedError
