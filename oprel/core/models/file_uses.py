"""Which files of models manifests use, for code that deletes files: what cannot be read is not unused."""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from oprel.utils.files import read_own

LONGEST_PATH = 4096  # characters
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ManifestUses:
    """What one manifest may use: its `hashes`, and `strings` that may be paths.

    `is_readable`: this version understands it. `is_whole`: it is a JSON object, so that no digest is lost.
    """

    hashes: frozenset[str] = frozenset()
    strings: tuple[str, ...] = ()
    is_readable: bool = False
    is_whole: bool = False


@dataclass(frozen=True)
class FileUses:
    """The uses of all manifests, by file. `absolute` reads a path in a manifest.

    `unlisted`: a folder whose manifests cannot be listed, so that any file may be in use.
    """

    manifests: Mapping[Path, ManifestUses]
    absolute: Callable[[str], Path]
    unlisted: Path | None = None

    @cached_property
    def paths(self) -> frozenset[str]:
        """Real paths. Blocks to resolve each."""
        strings = {string for manifest in self.manifests.values() for string in manifest.strings}
        real = _Resolver()
        return frozenset(real.path(path) for string in strings for path in _files_at(string, self.absolute))

    @cached_property
    def hashes(self) -> frozenset[str]:
        """All SHA-256 digests in hex, wherever a manifest contains them."""
        return frozenset().union(*(manifest.hashes for manifest in self.manifests.values()))

    @cached_property
    def unreadable(self) -> tuple[Path, ...]:
        """Manifests of a later version, and damaged ones.

        They may name files in a way that this version does not know, so they may use any fetched file.
        """
        unreadable = [file for file, manifest in self.manifests.items() if not manifest.is_readable]
        return (*([self.unlisted] if self.unlisted else ()), *unreadable)

    @cached_property
    def is_broken(self) -> bool:
        """Whether a manifest may even have lost digests."""
        return self.unlisted is not None or not all(manifest.is_whole for manifest in self.manifests.values())

    def may_include(self, path: Path) -> bool:
        """Whether a manifest may use this fetched file."""
        return bool(self.unreadable) or os.path.realpath(path) in self.paths

    def may_include_blob(self, name: str) -> bool:
        """Whether a manifest may use this blob, or folder of links: its name ends with a digest."""
        return self.is_broken or name.rpartition("-")[2] in self.hashes


def read_uses(file: Path, *, is_readable: bool) -> ManifestUses:
    """The uses in one manifest. `is_readable`: whether this version understands it."""
    text = _text(file)
    if text is None:
        return ManifestUses(is_readable=is_readable)
    strings = tuple(filter(_may_be_path, _strings(json.loads(text))))
    return ManifestUses(frozenset(_HASH.findall(text.lower())), strings, is_readable, is_whole=True)


def _text(file: Path) -> str | None:
    """The manifest, if it is a whole JSON object."""
    try:
        text = read_own(file).decode()
        return text if isinstance(json.loads(text), dict) else None
    except (OSError, ValueError, RecursionError):
        return None


def _strings(content: JsonValue) -> Iterator[str]:
    """All strings in a JSON document, at any depth: a later version may have fields that this one does not know."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from (string for value in content.values() for string in _strings(value))
    elif isinstance(content, list):
        yield from (string for value in content for string in _strings(value))


def _may_be_path(text: str) -> bool:
    return "/" in text and "\0" not in text and len(text) <= LONGEST_PATH


def _files_at(text: str, absolute: Callable[[str], Path]) -> Iterator[str]:
    """The files that a string means if it is a path: itself, or those in the folder."""
    path = str(absolute(text))
    yield path
    if os.path.isabs(text):
        with contextlib.suppress(OSError):  # not a folder
            yield from (f"{path}/{name}" for name in os.listdir(path))


class _Resolver:
    """Finds real paths as `os.path.realpath` does, with one look at each folder."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def path(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        joined = os.path.join(self._folders[folder], name)
        return os.path.realpath(joined) if os.path.islink(joined) else joined
