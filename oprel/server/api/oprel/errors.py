"""oprel's own form of errors, and Ollama's for oprel's routes below /api: a client of /api reads one form there."""

from oprel.core.exceptions import OprelError
from oprel.server.api.common.errors import flat_error, nested_error


def encode_error(error: OprelError) -> bytes:
    return nested_error(error)


def encode_api_error(error: OprelError) -> bytes:
    """For routes below /api."""
    return flat_error(error)
