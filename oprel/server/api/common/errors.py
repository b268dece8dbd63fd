"""Errors on the wire: each dialect has its own form, and its router attaches the encoder to the requests it serves."""

import math
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from oprel.api_models import ErrorDetail, ErrorResponse
from oprel.core.exceptions import ForbiddenError, OprelError, UnauthorizedError
from oprel.server.access.caller import AccessLevel
from oprel.server.access.identify import caller_of
from oprel.server.api.common import ignored
from oprel.server.api.common.app_state import state_of

ErrorEncoder = Callable[[OprelError], bytes]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]

ENCODER = "oprel.encode_error"  # the key of a request's encoder in its ASGI scope
KEY_PROBLEM = "oprel.key_problem"  # and of why it presents no valid key
NEEDS_KEY = (
    "Send one as `Authorization: Bearer KEY`; oprel's clients send OPREL_API_KEY, or what `oprel keys use` stored.",
    "`oprel keys add` makes one on the daemon's machine, where its own user needs none.",
)
OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    400: "invalid_request_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class AnyText(PathConvertor):
    """The rest of a path, also with line ends: what names no model gets an error in the form of the dialect."""

    regex = "(?s:.*)"


register_url_convertor("text", AnyText())


class CheckedRoute(APIRoute):
    """A route that callers need `needed` for. With a `header` it serves only requests that have it."""

    needed: ClassVar[AccessLevel]
    header: ClassVar[str]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self.header and self.header not in Headers(scope=scope):
            return Match.NONE, {}
        return super().matches(scope)


def dialect_router(
    encode_error: ErrorEncoder,
    *,
    prefix: str = "",
    header: str = "",
    access: AccessLevel = AccessLevel.ADMIN,
) -> APIRouter:
    """A router whose routes report errors in the form of `encode_error`.

    With a `header` they serve only requests that have it; the others are left to the routers that follow. Callers need
    `access`, or are refused before the request is read.
    """
    only_with = header

    def in_dialect(handle: Endpoint) -> Endpoint:
        async def handle_in_dialect(request: Request) -> Response:
            request.scope[ENCODER] = encode_error
            _check_access(request, access)
            response = await handle(request)
            if names := ignored.ignored_in(request):
                ignored.set_header(response.headers, names)
                state_of(request).ignored.report(request.scope["path"], names)
            return response

        return handle_in_dialect

    class DialectRoute(CheckedRoute):
        needed, header = access, only_with

        def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
            super().__init__(path, endpoint, **options)
            if _takes_only_request(self):
                self.app = _as_app(in_dialect(endpoint))

        def get_route_handler(self) -> Endpoint:
            """FastAPI's own way, for parameters, and for routers that an application includes with dependencies."""
            return in_dialect(super().get_route_handler())

    return APIRouter(prefix=prefix, route_class=DialectRoute)


def _check_access(request: Request, needed: AccessLevel) -> None:
    """Raises UnauthorizedError where a key could help, else ForbiddenError; RateLimitError."""
    caller = caller_of(request)
    problem = request.scope.get(KEY_PROBLEM, "")
    # A wrong key counts also where none is needed: /health says more to a right one, and guessing must not be free.
    if problem and (caller.access < needed or caller.access is AccessLevel.ANYONE):
        problem = state_of(request).keys.failures.note(caller.address, problem)
    if caller.access >= needed:
        if caller.key and needed > AccessLevel.ANYONE:
            state_of(request).keys.admit(caller.key)
        return
    if caller.key is None:
        raise UnauthorizedError(problem or "this needs a key", *NEEDS_KEY)
    raise ForbiddenError(f"the key {caller.key.name!r} does not allow this", "Use a key with the scope admin.")


def _takes_only_request(route: APIRoute) -> bool:
    """Whether FastAPI has nothing to prepare for its endpoint, which then takes half of the time."""
    needs = route.dependant
    others = (needs.path_params, needs.query_params, needs.header_params, needs.body_params, needs.cookie_params)
    return needs.request_param_name is not None and not any((*others, needs.dependencies))


def _as_app(handle: Endpoint) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handle(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


def encode_for(scope: Scope, error: OprelError) -> bytes:
    """The JSON of an error in the form of the request's dialect; oprel's own form if no route serves the request."""
    encode: ErrorEncoder = scope.get(ENCODER, nested_error)
    return encode(error)


def error_response(scope: Scope, error: OprelError) -> Response:
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if error.http_status in (429, 503) else {}
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(encode_for(scope, error), error.http_status, headers, "application/json; charset=utf-8")


def nested_error(error: OprelError) -> bytes:
    """oprel's own form."""
    detail = ErrorDetail(type=error.code, message=error.message, resolution_steps=list(error.resolution_steps))
    return ErrorResponse(error=detail).model_dump_json().encode()


def flat_error(error: OprelError) -> bytes:
    """Ollama's form, with two fields of oprel: all routes below /api have it."""
    return orjson.dumps({"error": error.message, "code": error.code, "resolution_steps": error.resolution_steps})


def openai_error(error: OprelError) -> bytes:
    """The form of both of OpenAI's APIs."""
    kind = OPENAI_TYPES.get(error.http_status, "api_error")
    detail = {"message": message_with_steps(error), "type": kind, "param": None, "code": error.code}
    return orjson.dumps({"error": detail})


def message_with_steps(error: OprelError) -> str:
    """What happened and what to do next, for dialects that have one text for both."""
    if not error.resolution_steps:
        return error.message
    sentence = error.message if error.message.endswith((".", "!", "?")) else f"{error.message}."
    return " ".join((sentence, *error.resolution_steps))
