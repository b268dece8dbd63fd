"""Ollama's form of errors, with oprel's code and next steps."""

from oprel.core.exceptions import OprelError
from oprel.server.api.common.errors import flat_error


def encode_error(error: OprelError) -> bytes:
    return flat_error(error)
