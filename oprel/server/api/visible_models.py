"""Which models a caller may know of: its key may be for some only."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from starlette.requests import Request

from oprel.server.access.identify import caller_of
from oprel.server.api.common.app_state import state_of
from oprel.server.models.summaries import ModelList
from oprel.server.pool.engine_status import EngineStatus

Result = TypeVar("Result")


async def survey(request: Request, make: Callable[[ModelList], Result]) -> Result:
    """`make` of all models that the caller may use. See `Library.survey`."""
    key = caller_of(request).key
    library = state_of(request).library
    if not (key and key.models):
        return await library.survey(make)
    return await library.survey(lambda models: make(models.only(key.allows)))


def visible_statuses(request: Request) -> list[EngineStatus]:
    """Of the engines of models that the caller may use, under the names that it may know."""
    key, statuses = caller_of(request).key, state_of(request).manager.statuses()
    if not (key and key.models):
        return statuses
    return [status for each in statuses if (status := each.only(key.allows)).requested]


def is_visible(request: Request, names: Iterable[str]) -> bool:
    """Whether the caller may know of a loaded model with these names."""
    key = caller_of(request).key
    return key is None or any(map(key.allows, names))
