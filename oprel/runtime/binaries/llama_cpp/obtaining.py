"""Fetches a listed file and checks its digest: from its address or a mirror, else by pip from the package index."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

from oprel.core.config import Config
from oprel.core.configuration.rates import parse_rates
from oprel.core.exceptions import DownloadError
from oprel.downloader.network.clients import open_client
from oprel.downloader.source import Progress, RemoteFile
from oprel.downloader.transfer.fetch import Limits, fetch
from oprel.runtime.binaries.llama_cpp.listing import EngineRelease, ListedFile
from oprel.runtime.binaries.pip import LOG, run_pip
from oprel.utils.text import human_size

LIMITS = Limits()

Show = Callable[[str, int, int], None]  # a step, the bytes that are done, and all of them


def obtain(listed: ListedFile, folder: Path, config: Config, show: Show, *, pip_shown: bool) -> Path:
    """The file in `folder`, with the listed digest. A partial download stays there, and is continued the next time.

    `pip_shown`: pip prints its own progress. Raises DownloadError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, url = folder / listed.file, address_of(listed, config.engine_mirror)
    if config.offline == "on":
        raise DownloadError("oprel is offline and does not download anything", "Set `offline` to off.")
    if url:
        asyncio.run(_fetch(listed, url, path, config, show))
    else:
        if not pip_shown:
            show(f"getting {listed.title} ({human_size(listed.size_bytes)})", 0, 0)
        _by_pip(listed, folder, shown=pip_shown)
    _check(listed, path)
    return path


def address_of(listed: ListedFile, mirror: str) -> str:
    """Where the file is; "" for one that pip finds.

    >>> address_of(ListedFile(name="x", version="1", build=1, file="x.whl", size_bytes=1, sha256="0" * 64), "http://m/")
    'http://m/x.whl'
    """
    return f"{mirror.rstrip('/')}/{listed.file}" if mirror else listed.url


async def _fetch(listed: ListedFile, url: str, path: Path, config: Config, show: Show) -> None:
    def tell(progress: Progress) -> None:
        if progress.phase != "done":
            show(f"{progress.phase} {listed.file}", progress.done_bytes, listed.size_bytes)

    remote = RemoteFile(name=listed.file, url=url, size_bytes=listed.size_bytes, sha256=listed.sha256)
    async with open_client() as client:
        limits = Limits(**{**vars(LIMITS), "rates": parse_rates(config.download_rate)})
        await fetch(remote, path, client=client, progress=tell, limits=limits)


def _by_pip(listed: ListedFile, folder: Path, *, shown: bool) -> None:
    """pip compares the digest too, and asks the index that it is configured for."""
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{listed.name}=={listed.version} --hash=sha256:{listed.sha256}\n")
    kind = "--only-binary" if isinstance(listed, EngineRelease) else "--no-binary"
    arguments = ("download", "--no-deps", f"{kind}={listed.name}", f"--dest={folder}", f"--requirement={requirement}")
    try:
        run_pip(*arguments, log=folder / LOG, shown=shown)
        (folder / LOG).unlink(missing_ok=True)
    finally:
        requirement.unlink()


def _check(listed: ListedFile, path: Path) -> None:
    """Raises DownloadError, and discards the file, if its digest is another one."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != listed.sha256:
        path.unlink()
        raise DownloadError(
            f"{listed.file} is not the listed file: want sha256:{listed.sha256}, got sha256:{digest}",
            "It was discarded. If it happens again, a proxy or the server alters the file.",
        )
