"""Types shared by all sources of models: remote files and the progress of a download. Pure.

A plugin package provides a `Source`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from oprel.core.exceptions import ValidationError
from oprel.core.names import RegistryOrigin

if TYPE_CHECKING:
    import httpx

LONGEST_NAME = 1024  # bytes of a whole relative path
LARGEST_FILE = 2**50  # bytes
LONGEST_PART = 255  # bytes of one path component: the limit of file systems


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One remote file of a model.

    `name` is a checked relative path. `sha256` is 64 hexadecimal digits, "" if unknown; `etag` is without quotes, or
    "". `headers` are sent with each request to `url`, but never to another host after a redirect.
    """

    name: str
    url: str
    size_bytes: int
    sha256: str = ""
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may have a token

    def __post_init__(self) -> None:
        if not 0 <= self.size_bytes <= LARGEST_FILE:
            raise ValidationError(f"{self.name} is said to have {self.size_bytes} bytes, which no file has")


@dataclass(frozen=True)
class Source:
    """An additional source of models, provided by a package, for names such as `HOST/USER/MODEL:TAG`.

    `files` returns the files of a model: a single file, the parts of a GGUF in order, or all files of a folder. It
    raises ModelNotFoundError for an unknown model and may let httpx's errors propagate.
    """

    host: str
    files: "Callable[[RegistryOrigin, httpx.AsyncClient], Awaitable[Sequence[RemoteFile]]]"


@dataclass(frozen=True)
class Progress:
    """The progress of one file: the bytes done, and the current phase."""

    file: RemoteFile
    done_bytes: int
    phase: Literal["downloading", "verifying", "done"]


def checked_name(name: str) -> str:
    """`name` if it is a relative path that stays in its folder. Raises ValidationError, since names are untrusted."""
    shown = repr(name if len(name) <= 80 else name[:80] + "…")
    if len(name.encode(errors="surrogatepass")) > LONGEST_NAME:
        raise ValidationError(f"the file name {shown} is too long")
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(name).is_absolute():
        raise ValidationError(f"the file name {shown} leads out of its folder")
    if any(len(part.encode(errors="surrogatepass")) > LONGEST_PART for part in parts):
        raise ValidationError(f"the file name {shown} is too long")
    if "\\" in name or not name.isprintable():
        raise ValidationError(f"the file name {shown} has forbidden characters")
    return name


def is_allowed(name: str) -> bool:
    """Whether `checked_name` lets the name pass."""
    try:
        return bool(checked_name(name))
    except ValidationError:
        return False
