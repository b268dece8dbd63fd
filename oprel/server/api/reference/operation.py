"""What a route takes and answers, for the description of the API. Each dialect has a table of these in `operations`."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response

from oprel.api_models import RequestBody, Wire
from oprel.server.api.common.streaming import MISSING_PROMPT, TRUNCATED, UNPARSED

AnyEndpoint = Callable[..., Coroutine[Any, Any, Response]]  # of a route, with whatever parameters

JSON_CONTENT, TEXT_CONTENT = "application/json", "text/plain"
COMPLETION_HEADERS = (TRUNCATED, UNPARSED)
EMBEDDING_HEADERS = (MISSING_PROMPT,)


@dataclass(frozen=True)
class QueryParameter:
    """`kind` is the type of its value; `is_header`: it is a header of the request instead."""

    name: str
    kind: object
    meaning: str
    is_header: bool = False


@dataclass(frozen=True)
class FollowUp:
    """An operation that takes a value of this one's answer: `values` has a JSON pointer for each path parameter."""

    endpoint: AnyEndpoint
    values: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`answers`: the type of the answer in each media type that it may have; of a stream, that of each line or event.

    `statuses`: those of success, with what they mean; without `answers` they have no content. `headers`: those of the
    answer besides the ones that all have. `takes_bytes`: the body is a file. `reports_errors`: false if an error is a
    status alone.
    """

    summary: str
    body: type[RequestBody] | None = None
    takes_bytes: bool = False
    answers: Mapping[str, object] = field(default_factory=dict)
    statuses: Mapping[int, str] = field(default_factory=lambda: {200: "Done."})
    parameters: tuple[QueryParameter, ...] = ()
    headers: tuple[str, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()
    reports_errors: bool = True


Operations = Mapping[AnyEndpoint, Operation]


@dataclass(frozen=True, kw_only=True)
class DialectReference:
    """The routes of one dialect: `error` is the form of its errors."""

    name: str
    about: str
    error: type[Wire]
    operations: Operations


def json_answer(kind: object) -> Mapping[str, object]:
    return {JSON_CONTENT: kind}
