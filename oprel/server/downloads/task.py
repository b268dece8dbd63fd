"""One model on its way here: how far it is, and how its clients are told of that."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import OprelError
from oprel.core.names import ModelRef
from oprel.downloader.offers import Offer
from oprel.downloader.source import Progress
from oprel.server.downloads.records import DownloadRecord, DownloadState


@dataclass
class Download:
    """One model on its way. `files` tells of each file by its name; `waiting` clients follow it.

    `insecure`: a registry is asked over http, as who began it wants. `chosen` is the model that was chosen where `ref`
    leaves a choice: it stays the same when the download goes on.
    """

    id: str
    ref: ModelRef
    state: DownloadState = DownloadState.RUNNING
    keep: bool = False
    insecure: bool = False
    error: OprelError | None = None
    chosen: ModelRef | None = None
    title: str = ""
    files: dict[str, Progress] = field(default_factory=dict)
    destinations: frozenset[Path] = frozenset()
    waiting: int = 0
    job: "asyncio.Task[None] | None" = None
    known: tuple[int, int] = (0, 0)  # total and completed bytes, before this daemon has looked
    changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def total(self) -> int:
        return sum(one.file.size_bytes for one in self.files.values()) or self.known[0]

    @property
    def completed(self) -> int:
        done = (one.done_bytes if one.phase == "downloading" else one.file.size_bytes for one in self.files.values())
        return sum(done) if self.files else self.known[1]

    @property
    def is_verifying(self) -> bool:
        """All is here, and not yet known to be right."""
        phases = [one.phase for one in self.files.values()]
        return "downloading" not in phases and "verifying" in phases

    @property
    def record(self) -> DownloadRecord:
        error = self.error.message if self.error else ""
        places = tuple(str(path) for path in sorted(self.destinations))
        return DownloadRecord(self.id, self.ref.text, self.state, error, self.total, self.completed, places)

    def offered(self, offer: Offer) -> None:
        """It is known what there is to fetch."""
        self.title = offer.title
        self.chosen = ModelRef.parse(offer.name) if offer.name else None
        self.destinations = frozenset(target.destination for target in offer.targets)
        self.files = {target.file.name: Progress(target.file, 0, "downloading") for target in offer.targets}
        self.tell()

    def heard(self, progress: Progress) -> None:
        self.files[progress.file.name] = progress
        self.tell()

    def tell(self) -> None:
        """Wake all who wait for news."""
        self.changed.set()
        self.changed = anyio.Event()

    def news(self, told: dict[str, Progress]) -> Iterator[ProgressResponse]:
        """A line for each file of which there is more than was `told`; it is told then."""
        for name, progress in self.files.items():
            if told.get(name) != progress:
                told[name] = progress
                yield _line(progress)


def _line(progress: Progress) -> ProgressResponse:
    file = progress.file
    done = progress.done_bytes if progress.phase == "downloading" else file.size_bytes
    return ProgressResponse(
        status=f"pulling {file.sha256[:12] or file.name}",
        digest=f"sha256:{file.sha256}" if file.sha256 else None,
        total=file.size_bytes,
        completed=done or None,
    )
