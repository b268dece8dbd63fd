"""The errors that operations may answer with: a status for each class of errors, in the form of the dialect. Pure."""

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus

from oprel.api_models import Wire
from oprel.core.exceptions import error_classes
from oprel.server.api.reference.error_types import RefusedHead
from oprel.server.api.reference.operation import JSON_CONTENT, Operation
from oprel.server.api.reference.schemas import Schema, Schemas

# Refused before the route is known, in every dialect alike.
HEAD_REFUSALS: Mapping[int, str] = {
    403: "The Origin or the Host is foreign. Without content.",
    408: "The request came too slowly.",
    414: "The URL is too long.",
    429: "There are too many requests at once on one connection.",
    431: "The headers are too long.",
}
WITHOUT_CONTENT = 403


def error_components(kinds: Collection[type[Wire]], schemas: Schemas) -> Schema:
    """The responses that operations refer to."""
    in_forms = {_name(form, status): _response([form], status, schemas) for form in kinds for status in _statuses()}
    refusals = {f"Refused{status}": _refusal(status, schemas) for status in HEAD_REFUSALS}
    return dict(sorted({**in_forms, **refusals}.items()))


def error_responses(kinds: Sequence[type[Wire]], operation: Operation, schemas: Schemas) -> Schema:
    """By their statuses: in the one form, or in either of several."""
    if not operation.reports_errors:
        return {}
    responses: dict[int, Schema] = {
        status: {"$ref": f"#/components/responses/Refused{status}"} for status in HEAD_REFUSALS
    }
    for status in _statuses():
        reference: Schema = {"$ref": f"#/components/responses/{_name(kinds[-1], status)}"}
        responses[status] = reference if len({*kinds}) == 1 else _response(kinds, status, schemas)
    return {str(status): responses[status] for status in sorted(responses)}


def _response(kinds: Sequence[type[Wire]], status: int, schemas: Schemas) -> Schema:
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(sorted(_statuses()[status]))}.",
        "content": {JSON_CONTENT: {"schema": schemas.either(kinds)}},
        **({"headers": {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}} if status == 503 else {}),
    }


def _refusal(status: int, schemas: Schemas) -> Schema:
    content: Schema = {"content": {JSON_CONTENT: {"schema": schemas.either([RefusedHead])}}}
    return {"description": HEAD_REFUSALS[status], **({} if status == WITHOUT_CONTENT else content)}


def _statuses() -> Mapping[int, list[str]]:
    """The codes of errors, by their status."""
    statuses: dict[int, list[str]] = {}
    for code, kind in error_classes().items():
        statuses.setdefault(kind.http_status, []).append(code)
    return statuses


def _name(form: type[Wire], status: int) -> str:
    return f"{form.__name__}{status}"
