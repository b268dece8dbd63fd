"""OpenAI's form of errors."""

from oprel.core.exceptions import OprelError
from oprel.server.api.common.errors import openai_error


def encode_error(error: OprelError) -> bytes:
    return openai_error(error)
