"""What a client of a download is sent."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import pytest

from oprel.core.config import Config
from oprel.core.names import ModelRef
from oprel.core.variants import Variant
from oprel.downloader.offers import Repository
from oprel.downloader.source import Progress, RemoteFile
from oprel.server.downloads.manager import VERIFYING, Downloads
from oprel.server.downloads.records import DownloadState
from oprel.server.downloads.task import Download
from oprel.server.models.library import Library

FILES = [
    RemoteFile(name=name, url=f"https://x.example/{name}", size_bytes=100, sha256=name * 64) for name in ("a", "b")
]


def choose(repository: Repository) -> Variant:
    raise AssertionError("no repository is read here")


@pytest.fixture
async def downloads(tmp_path: Path) -> AsyncIterator[Downloads]:
    config = Config(home=str(tmp_path))
    made = Downloads(config, Library(config), choose, serves_folders=lambda: False, draining=lambda: False)
    yield made
    await made.close()


def move(download: Download, number: int, done: int, phase: Literal["downloading", "verifying", "done"]) -> None:
    download.update(Progress(FILES[number], done, phase))


async def test_nothing_is_pulled_after_the_digest_is_verified(downloads: Downloads) -> None:
    download = Download(id="1", ref=ModelRef.parse("hf.co/a/b"), keep=True)
    move(download, 0, 0, "downloading")
    move(download, 1, 0, "downloading")
    # What happens, in pieces, each before the client is sent anything more.
    events = iter(
        [
            lambda: move(download, 0, 100, "verifying"),
            lambda: move(download, 1, 100, "verifying"),
            lambda: move(download, 0, 50, "verifying"),
            lambda: move(download, 0, 100, "done"),
            lambda: move(download, 1, 100, "done"),
        ]
    )
    statuses: list[str] = []
    async with aclosing(downloads.follow(download)) as lines:
        async for line in lines:
            statuses.append(line.status)
            for happens in events:
                happens()
                if line.status != VERIFYING:
                    break
            else:
                download.state = DownloadState.DONE
                download.tell()
    at = statuses.index(VERIFYING)
    assert [status for status in statuses[at:] if status.startswith("pulling")] == []
    assert statuses[at:] == [VERIFYING, "writing manifest", "success"]


async def test_what_a_download_waits_for_is_said_once_each_time(downloads: Downloads) -> None:
    download = Download(id="1", ref=ModelRef.parse("hf.co/a/b"), keep=True)
    events = iter(["waiting for the network: no answer", "", "waiting for the network: no answer"])
    statuses: list[str] = []
    async with aclosing(downloads.follow(download)) as lines:
        async for line in lines:
            statuses.append(line.status)
            move(download, 0, len(statuses), "downloading")
            download.waits_for = next(events, "")
            if len(statuses) > len(FILES) * 4:
                download.state = DownloadState.DONE
            download.tell()
    assert statuses.count("waiting for the network: no answer") == 2
