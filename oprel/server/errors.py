"""Errors on the wire: in Ollama's, OpenAI's, Anthropic's or oprel's own form, by the route they come from."""

import logging
import math
import uuid

import orjson
from starlette.responses import Response

from oprel.api_models import ErrorDetail, ErrorResponse
from oprel.core.exceptions import ContextLengthError, OprelError

logger = logging.getLogger(__name__)

OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def encode_error(error: OprelError, path: str) -> bytes:
    """The JSON body, or the last line of a stream that broke off, in the form of the route at `path`."""
    if path.startswith("/api/"):
        return orjson.dumps({"error": error.message, "code": error.code, "resolution_steps": error.resolution_steps})
    if path.startswith("/v1/messages"):
        return anthropic_error(error)
    if path.startswith("/v1/"):
        return openai_error(error)
    detail = ErrorDetail(type=error.code, message=error.message, resolution_steps=list(error.resolution_steps))
    return ErrorResponse(error=detail).model_dump_json().encode()


def openai_error(error: OprelError) -> bytes:
    kind = OPENAI_TYPES.get(error.http_status, "api_error")
    return orjson.dumps({"error": {"message": _whole(error), "type": kind, "param": None, "code": error.code}})


def anthropic_error(error: OprelError) -> bytes:
    kind = ANTHROPIC_TYPES.get(error.http_status, "api_error")
    # The words by which Claude Code knows that it has to shorten the conversation.
    prefix = "prompt is too long: " if isinstance(error, ContextLengthError) else ""
    detail = {"type": kind, "message": prefix + _whole(error)}
    return orjson.dumps({"type": "error", "error": detail, "request_id": f"req_{uuid.uuid4().hex[:24]}"})


def _whole(error: OprelError) -> str:
    """What happened and what to do next: these dialects have a single text for both."""
    ended = error.message if error.message.endswith((".", "!", "?")) else f"{error.message}."
    return " ".join((ended, *error.resolution_steps)) if error.resolution_steps else error.message


def unexpected(error: Exception) -> OprelError:
    """What a client is told of a fault of our own; the log has the rest."""
    logger.error("unexpected error", exc_info=error)
    return OprelError(f"internal error: {type(error).__name__}", "This is a fault of oprel: see the daemon's log.")


def error_response(error: OprelError, path: str) -> Response:
    headers = {"Retry-After": str(math.ceil(error.retry_after))} if error.http_status == 503 else None
    return Response(encode_error(error, path), error.http_status, headers, "application/json; charset=utf-8")
