"""Anthropic's form of errors."""

import uuid

import orjson

from oprel.core.exceptions import ContextLengthError, OprelError
from oprel.server.api.common.errors import message_with_steps

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def encode_error(error: OprelError) -> bytes:
    # Claude Code shortens the conversation when it reads this prefix.
    prefix = "prompt is too long: " if isinstance(error, ContextLengthError) else ""
    detail = {"type": TYPES.get(error.http_status, "api_error"), "message": prefix + message_with_steps(error)}
    return orjson.dumps({"type": "error", "error": detail, "request_id": f"req_{uuid.uuid4().hex[:24]}"})
