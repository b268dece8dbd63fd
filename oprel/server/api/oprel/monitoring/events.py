"""`GET /api/events`: what changes in the daemon, as server-sent events, so that no page needs to poll."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass

from fastapi import Request, Response

from oprel import __version__
from oprel.api_models import Wire
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common.app_state import AppState, state_of
from oprel.server.api.common.errors import dialect_router
from oprel.server.api.common.sse import event
from oprel.server.api.common.streaming_response import StreamingReply
from oprel.server.api.oprel.errors import encode_api_error
from oprel.server.api.oprel.library.download_tasks import task_of
from oprel.server.api.oprel.monitoring.engine_rows import engine_row
from oprel.server.pool.admission import WaitingForMemory
from oprel.wire import events as wire

router = dialect_router(encode_api_error, access=AccessLevel.ADMIN)

SSE = "text/event-stream"
INTERVAL = 0.25  # s between two looks, for as long as a client listens
QUIET_LOOKS = 60  # after which a line shows that the connection lives
ALIVE = b": alive\n\n"


@router.get("/api/events")
async def events(request: Request, follow: str = "true") -> Response:
    """First everything as it is; with `follow` also each change, until the daemon stops.

    What lasts only a fraction of a second may not appear.
    """
    feed = _Feed(state_of(request))
    return StreamingReply(
        _stream(feed, follows=follow.lower() in ("true", "1")),
        SSE,
        broken=lambda error: event("error", {"error": error.message}),
    )


async def _stream(feed: "_Feed", *, follows: bool) -> AsyncGenerator[bytes, None]:
    quiet = 0
    while True:
        news = b"".join(feed.news())
        quiet = 0 if news else quiet + 1
        if news or quiet % QUIET_LOOKS == 0:
            yield news or ALIVE
        if feed.is_over or not follows:
            return
        await asyncio.sleep(INTERVAL)


@dataclass(frozen=True)
class _Kind:
    """The names of the events of one kind of thing."""

    changed: str
    gone: str


ENGINE, DOWNLOAD, WAITING = (
    _Kind("engine", "engine_gone"),
    _Kind("download", "download_gone"),
    _Kind("waiting", "waiting_gone"),
)


class _Feed:
    """What one client was sent; `news` has what differs from it."""

    def __init__(self, state: AppState) -> None:
        self._state = state
        self._sent: dict[_Kind, dict[str, Wire]] = {ENGINE: {}, DOWNLOAD: {}, WAITING: {}}
        self._daemon: wire.DaemonEvent | None = None

    @property
    def is_over(self) -> bool:
        """A daemon that stops does not wait for listeners."""
        return self._state.manager.draining

    def news(self) -> Iterator[bytes]:
        manager = self._state.manager
        daemon = wire.DaemonEvent(status="draining" if manager.draining else "ok", version=__version__)
        if daemon != self._daemon:
            self._daemon = daemon
            yield event("daemon", dict(daemon))
        engines = {str(status.spec.files.weights): engine_row(status) for status in manager.statuses()}
        tasks = {download.id: task_of(download, shows_url=True) for download in self._state.downloads.all()}
        waiting = {each.name: _waiting(each) for each in manager.admission.waiting}
        yield from self._of(ENGINE, engines)
        yield from self._of(DOWNLOAD, tasks)
        yield from self._of(WAITING, waiting)

    def _of(self, kind: _Kind, present: Mapping[str, Wire]) -> Iterator[bytes]:
        sent = self._sent[kind]
        for key in [key for key in sent if key not in present]:
            yield event(kind.gone, {"id": key})
            del sent[key]
        for key, row in present.items():
            if sent.get(key) != row:
                sent[key] = row
                yield event(kind.changed, {"id": key, kind.changed: row})


def _waiting(model: WaitingForMemory) -> wire.WaitingEvent:
    return wire.WaitingEvent(name=model.name, bytes=model.needs.total, why=model.why)
