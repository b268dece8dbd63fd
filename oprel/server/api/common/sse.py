"""Named server-sent events, as in OpenAI's Responses and Anthropic's Messages."""

from collections.abc import Mapping

import orjson
from pydantic import BaseModel


def event(kind: str, fields: Mapping[str, object]) -> bytes:
    """One event. Its data repeat the name as `type`; values may be wire types.

    >>> event("ping", {})
    b'event: ping\\ndata: {"type":"ping"}\\n\\n'
    """
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), dumps({"type": kind, **fields}))


def dumps(value: object) -> bytes:
    """JSON that includes the None fields of wire types as null."""
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is not a wire type")
