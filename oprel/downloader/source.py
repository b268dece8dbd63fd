"""What all sources of models have in common: the files they offer, how far the getting of one is. Pure.

`Source` is what a package announces.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

import httpx

from oprel.core.exceptions import ValidationError
from oprel.core.names import RegistryOrigin

LONGEST_NAME = 1024  # bytes of a whole relative path
LONGEST_PART = 255  # bytes of one file's or folder's name: what file systems hold


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model elsewhere.

    `name` is a checked relative path; `sha256` is 64 hexadecimal digits, or "" where nobody tells; `etag` is without
    quotes, or "". `headers` go with each request to `url`, and never to another host after a redirect.
    """

    name: str
    url: str
    size_bytes: int
    sha256: str = ""
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A further place of models, which a package announces: those whose names begin with `host`, `HOST/USER/MODEL:TAG`.

    `files` are those of the model of that name: a single file, the parts of a GGUF in order, or all of a folder. It
    raises ModelNotFoundError where there is no such model, and may let httpx's errors pass.
    """

    host: str
    files: Callable[[RegistryOrigin, httpx.AsyncClient], Awaitable[Sequence[RemoteFile]]]


@dataclass(frozen=True)
class Progress:
    """How far one file is: its bytes that are here, and what is being done with it."""

    file: RemoteFile
    done_bytes: int
    phase: Literal["downloading", "verifying", "done"]


def checked_name(name: str) -> str:
    """`name`, when it is a relative path that stays in its folder. Raises ValidationError: strangers send others."""
    shown = repr(name if len(name) <= 80 else name[:80] + "…")
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ValidationError(f"the file name {shown} is too long")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(name).is_absolute():
        raise ValidationError(f"the file name {shown} does not stay in its folder")
    if any(len(part.encode(errors="surrogatepass")) > LONGEST_PART for part in parts):
        raise ValidationError(f"the file name {shown} is too long")
    if "\\" in name or not name.isprintable():
        raise ValidationError(f"the file name {shown} has characters that no file name should have")
    return name
