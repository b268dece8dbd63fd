"""Errors on the wire. Ollama's routes send `{"error": "text"}` with oprel's extras beside it; oprel's own an object."""

import logging

import orjson
from starlette.responses import Response

from oprel.api_models import ErrorDetail, ErrorResponse
from oprel.core.exceptions import OprelError

logger = logging.getLogger(__name__)


def encode_error(error: OprelError, path: str) -> bytes:
    """The JSON body, or the last line of a stream that broke off, in the form of the route at `path`."""
    if path.startswith("/api/"):
        return orjson.dumps({"error": error.message, "code": error.code, "resolution_steps": error.resolution_steps})
    detail = ErrorDetail(type=error.code, message=error.message, resolution_steps=list(error.resolution_steps))
    return ErrorResponse(error=detail).model_dump_json().encode()


def unexpected(error: Exception) -> OprelError:
    """What a client is told of a fault of our own; the log has the rest."""
    logger.error("unexpected error", exc_info=error)
    return OprelError(f"internal error: {type(error).__name__}", "This is a fault of oprel: see the daemon's log.")


def error_response(error: OprelError, path: str) -> Response:
    headers = {"Retry-After": "1"} if error.http_status == 503 else None
    return Response(encode_error(error, path), error.http_status, headers, "application/json; charset=utf-8")
