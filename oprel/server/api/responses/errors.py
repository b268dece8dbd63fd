"""Errors of OpenAI's Responses API: its form is the one of OpenAI's other API, also inside a failed response."""

import orjson
from pydantic import JsonValue

from oprel.core.exceptions import OprelError
from oprel.server.api.common.errors import openai_error


def encode_error(error: OprelError) -> bytes:
    return openai_error(error)


def failure(error: OprelError) -> JsonValue:
    """The `error` of a failed response."""
    detail: JsonValue = orjson.loads(openai_error(error))["error"]
    return detail
