"""What every route of one app works with."""

from dataclasses import dataclass

from starlette.requests import Request

from oprel.server.conversations import Conversations
from oprel.server.downloads import Downloads
from oprel.server.last_use import LastUse
from oprel.server.library import Library
from oprel.server.manager import ModelManager


@dataclass(frozen=True)
class Daemon:
    """The parts of a running daemon. `started` is in seconds of the manager's clock."""

    manager: ModelManager
    library: Library
    conversations: Conversations
    last_use: LastUse
    downloads: Downloads
    started: float


def daemon_of(request: Request) -> Daemon:
    daemon = request.app.state.daemon
    assert isinstance(daemon, Daemon)
    return daemon
