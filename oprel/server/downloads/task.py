"""One download of a model: its progress, and how clients are notified of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import anyio

from oprel.api_models import ProgressResponse
from oprel.core.exceptions import DownloadError, DownloadFault, ModelNotFoundError, OprelError
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.backoff import LONGEST_PROMISE, Unreachable
from oprel.downloader.offers import Offer
from oprel.downloader.source import Progress
from oprel.server.downloads.records import DownloadRecord, DownloadState
from oprel.server.downloads.speed import DownloadSpeed

GIT_HASH_LENGTH = 40  # of the ETags of a hub's small files, which are checked by it
# Removes the files of an updated model that nothing uses any more; returns what there is to say of it.
FreeReplaced = Callable[[Manifest], Awaitable[str]]


async def keep_replaced(before: Manifest) -> str:
    return ""


@dataclass(kw_only=True)
class Download:
    """The download of one model. `files` maps file names to their progress; `waiting` counts the following clients.

    `waits_for`: what keeps it from going on for now, in words; "" for nothing. `of_update`: what there is to say of the
    files of an earlier version, in the same way. `replaced`: destinations of files that their publisher has
    changed meanwhile, so that they cannot be completed.

    `insecure`: access registries over http, as the client requested. `public_only`: it is not for this machine's own
    user, so only public addresses are connected to. `chosen` is the model that was chosen if `ref`
    leaves a choice; a resumed download keeps it.
    """

    id: str
    ref: ModelRef
    state: DownloadState = DownloadState.RUNNING
    keep: bool = False
    insecure: bool = False
    public_only: bool = False
    error: OprelError | None = None
    chosen: ModelRef | None = None
    title: str = ""
    files: dict[str, Progress] = field(default_factory=dict)
    destinations: frozenset[Path] = frozenset()
    replaced: frozenset[Path] = frozenset()
    waiting: int = 0
    waits_for: str = ""
    of_update: str = ""
    job: "asyncio.Task[None] | None" = None
    recorded: tuple[int, int] = (0, 0)  # total and completed bytes, from the record of an earlier daemon
    changed: anyio.Event = field(default_factory=anyio.Event)
    started: float = field(default_factory=time.time)  # s since 1970
    speed: DownloadSpeed = field(default_factory=DownloadSpeed)

    @property
    def total(self) -> int:
        return sum(progress.file.size_bytes for progress in self.files.values()) or self.recorded[0]

    @property
    def completed(self) -> int:
        return sum(map(_done_bytes, self.files.values())) if self.files else self.recorded[1]

    @property
    def progress(self) -> float:
        """From 0 to 1, by bytes."""
        return min(self.completed / self.total, 1.0) if self.total else 0.0

    @property
    def is_verifying(self) -> bool:
        """All files are complete, and at least one is still being verified."""
        phases = [progress.phase for progress in self.files.values()]
        return "downloading" not in phases and "verifying" in phases

    @property
    def remarks(self) -> list[str]:
        """What there is to say of the files once the model is installed."""
        files = (progress.file for progress in self.files.values())
        unproven = [file.name for file in files if not (file.sha256 or len(file.etag) == GIT_HASH_LENGTH)]
        weaker = f"{', '.join(unproven)}: only the size and the header were checked, as the server sent no SHA-256"
        return [text for text in (weaker if unproven else "", self.of_update) if text]

    @property
    def fault(self) -> str:
        """The kind of its error: a DownloadFault, or "other"; "" without an error."""
        if isinstance(self.error, ModelNotFoundError):
            return "not_found"
        return self.error.fault if isinstance(self.error, DownloadError) else "other" if self.error else ""

    @property
    def record(self) -> DownloadRecord:
        error = self.error.message if self.error else ""
        places = tuple(str(path) for path in sorted(self.destinations))
        return DownloadRecord(
            id=self.id,
            name=self.ref.text,
            state=self.state,
            error=error,
            total=self.total,
            completed=self.completed,
            places=places,
            insecure=self.insecure,
            public_only=self.public_only,
            chosen=self.chosen.text if self.chosen else "",
            fault=self.fault,
        )

    def outlives(self, error: Unreachable) -> bool:
        """Whether it waits until that is over. Else its client decides: of an unknown name, it may be mistyped."""
        is_asked_to_wait = error.is_momentary and 0 < error.seconds <= LONGEST_PROMISE
        return self.keep or (error.is_worth_waiting and (is_asked_to_wait or bool(self.destinations)))

    def offered(self, offer: Offer) -> None:
        """Set the files to download."""
        self.title, self.waits_for = offer.title, ""
        self.chosen = ModelRef.parse(offer.name) if offer.name else None
        before = self.destinations
        self.destinations = frozenset(target.destination for target in offer.targets)
        self.replaced = (self.replaced | before) - self.destinations
        self.files = {target.file.name: Progress(target.file, 0, "downloading") for target in offer.targets}
        self.tell()

    def waits(self, why: str) -> None:
        """It waits before its next request."""
        self.waits_for = f"waiting: {why}"
        self.tell()

    def update(self, progress: Progress) -> None:
        self.waits_for = ""
        self.files[progress.file.name] = progress
        self.speed.note(self.completed)
        self.tell()

    def tell(self) -> None:
        """Wake all clients that wait for news."""
        self.changed.set()
        self.changed = anyio.Event()

    def news(self, sent: dict[str, Progress]) -> Iterator[ProgressResponse]:
        """A line for each file whose progress differs from `sent`, which is updated."""
        for name, progress in self.files.items():
            if sent.get(name) != progress:
                sent[name] = progress
                yield _line(progress)


def restored_error(record: DownloadRecord) -> OprelError | None:
    """The error of a download of an earlier daemon."""
    if not record.error:
        return None
    faults = [fault for fault in get_args(DownloadFault) if fault == record.fault]
    return DownloadError(record.error, "Try again to continue.", fault=next(iter(faults), "network"))


def _done_bytes(progress: Progress) -> int:
    return progress.done_bytes if progress.phase == "downloading" else progress.file.size_bytes


def _line(progress: Progress) -> ProgressResponse:
    file = progress.file
    return ProgressResponse(
        status=f"pulling {file.sha256[:12] or file.name}",
        digest=f"sha256:{file.sha256}" if file.sha256 else None,
        total=file.size_bytes,
        completed=_done_bytes(progress) or None,
    )
