"""Wire types of `GET /api/events`; those of engines and downloads are the same as elsewhere."""

from oprel.api_models import Wire


class DaemonEvent(Wire):
    """`status`: "ok", or "draining" while the daemon lets its last answers finish."""

    status: str
    version: str


class WaitingEvent(Wire):
    """A model that waits for memory."""

    name: str
    bytes: int
    why: str
