"""Server-sent events that have a name, as OpenAI's Responses and Anthropic's Messages send them."""

from collections.abc import Mapping

import orjson
from pydantic import BaseModel


def event(kind: str, fields: Mapping[str, object]) -> bytes:
    """One event; its data repeat its name as `type`. Values may be wire types.

    >>> event("ping", {})
    b'event: ping\\ndata: {"type":"ping"}\\n\\n'
    """
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), dumps({"type": kind, **fields}))


def dumps(value: object) -> bytes:
    """JSON in which wire types keep their fields that are None: these dialects send them as null."""
    return orjson.dumps(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value)} is no wire type")
