"""The parts of a running daemon that its routes use."""

from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from oprel.core.configuration.given import Given
from oprel.server.access.keys import CallerKeys
from oprel.server.api.common.ignored import IgnoredParts
from oprel.server.downloads.manager import Downloads
from oprel.server.downloads.records import DownloadState
from oprel.server.downloads.task import Download
from oprel.server.history.conversations import Conversations
from oprel.server.history.request_log import RequestLog
from oprel.server.history.stored_responses import StoredResponses
from oprel.server.models.last_use import LastUse
from oprel.server.models.library import Library
from oprel.server.pool.manager import ModelManager
from oprel.server.storage.removal import Arriving, Removal


@dataclass(frozen=True, kw_only=True)
class AppState:
    """`started` is in seconds of `time.monotonic`. `given`: the settings that are set, and where."""

    manager: ModelManager
    library: Library
    conversations: Conversations
    last_use: LastUse
    downloads: Downloads
    keys: CallerKeys
    request_log: RequestLog | None
    started: float
    given: Given
    ignored: IgnoredParts = field(default_factory=IgnoredParts)
    responses: StoredResponses = field(default_factory=StoredResponses)

    @property
    def is_contended(self) -> bool:
        """Whether a request waits for a slot, or a model for memory."""
        loaded = self.manager.loaded
        return bool(self.manager.admission.waiting) or any(model.leases > model.spec.parallel for model in loaded)

    @property
    def removal(self) -> Removal:
        return Removal(self.manager, self.library, self._arriving)

    @property
    def arriving(self) -> dict[Path, Download]:
        """Unfinished downloads, by the path of each file that they will write."""
        return {path: download for download in self._unfinished for path in download.destinations}

    @property
    def _unfinished(self) -> list[Download]:
        return [download for download in self.downloads.all() if download.state is not DownloadState.DONE]

    def _arriving(self) -> Arriving:
        want_any = self.downloads.unreadable > 0
        are_all = not want_any and all(download.destinations for download in self._unfinished)
        return Arriving(frozenset(self.arriving), are_all, want_any)


def state_of(request: Request) -> AppState:
    state = request.app.state.daemon
    assert isinstance(state, AppState)
    return state
