"""Parts of requests that have no effect. An answer names them in a header, and the log names each once."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from pydantic import JsonValue
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from oprel.api_models import RequestBody
from oprel.core.exceptions import UnsupportedError
from oprel.core.request_options import OPTIONS

logger = logging.getLogger(__name__)

IGNORED = "X-Oprel-Ignored"  # the header: paths of fields, separated by commas
NAMES = "oprel.ignored"  # the key of a request's ignored parts in its ASGI scope
MOST_NAMES = 20  # in a header
MOST_LOGGED = 1000  # names come from clients
NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)

# They describe or route a request, and ask nothing of the answer. `strict` is what every schema is here.
WITHOUT_EFFECT = frozenset(
    (
        *("user", "metadata", "client_metadata", "safety_identifier", "service_tier", "store", "provider"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "cache_control", "include_obfuscation"),
        *("name", "description", "title", "strict", "type", "id"),
    )
)
MEDIA = frozenset(("audio", "audios", "video", "videos", "file", "files", "document", "documents"))


class IgnoredParts:
    """Owner of the names that the log has. It stops at 1000."""

    def __init__(self) -> None:
        self._logged = set[str]()

    def report(self, path: str, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self._logged]
        if new and len(self._logged) < MOST_LOGGED:
            self._logged.update(new)
            logger.warning("%s: ignored %s", path, ", ".join(new))

    def remark(self, text: str) -> None:
        """Log what a model's user should know, once."""
        if text not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(text)
            logger.warning(text)


def ignore(request: Request, names: Iterable[str]) -> None:
    """Note that these parts of the request have no effect."""
    ignored: dict[str, None] = request.scope.setdefault(NAMES, {})
    ignored.update(dict.fromkeys(name for name in names if NAME.fullmatch(name)))


def ignored_in(request: Request) -> list[str]:
    return list(request.scope.get(NAMES, ()))


def set_header(headers: MutableHeaders, names: list[str]) -> None:
    if names:
        headers[IGNORED] = ", ".join(names[:MOST_NAMES])


def unread(body: Mapping[str, JsonValue], kind: type[RequestBody], prefix: str = "") -> Iterator[str]:
    """Paths of the fields that `kind` and the objects in it lack, and of unknown options. Empty values ask for nothing.

    >>> from oprel.api_models import GenerateRequest
    >>> body = {"model": "m", "best_of": 2, "user": "me", "options": {"top_k": 1, "mirostat": 2}}
    >>> list(unread(body, GenerateRequest))
    ['best_of', 'options.mirostat']
    """
    fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    for name, value in body.items():
        spelled = name if name in fields else name.lower()  # as in RequestBody
        if value in (None, "", [], {}) or spelled in (WITHOUT_EFFECT | kind.read_elsewhere) - fields.keys():
            continue
        if spelled not in fields:
            yield prefix + name
        elif spelled == "options" and isinstance(value, dict):
            yield from (f"{prefix}options.{option}" for option in value.keys() - OPTIONS.keys())
        elif isinstance(value, dict) and (inner := _object_type(fields[spelled])):
            yield from unread(value, inner, f"{prefix}{name}.")


def refuse_media(body: Mapping[str, JsonValue], kind: type[RequestBody]) -> None:
    """Raises UnsupportedError if the request or a message has a field for sound, films or files."""
    messages = body.get("messages")
    for part in (body, *(messages if isinstance(messages, list) else ())):
        if isinstance(part, dict) and (media := sorted(name for name in _media(part, kind) if part[name])):
            raise UnsupportedError(f"`{media[0]}` is not supported: models here read text and images")


def _media(part: Mapping[str, JsonValue], kind: type[RequestBody]) -> Iterator[str]:
    return (name for name in part if name.lower() in MEDIA and name.lower() not in kind.model_fields)


def _object_type(annotation: object) -> type[RequestBody] | None:
    """The type of a field that takes one kind of object."""
    kinds = [
        kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, RequestBody)
    ]
    return kinds[0] if len(kinds) == 1 else None
