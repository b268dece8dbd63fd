"""Which files of models manifests use, for code that deletes files: what cannot be read is not unused."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

LONGEST_PATH = 4096  # characters
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileUses:
    """`paths` are real paths, `hashes` all SHA-256 digests in hex, wherever a manifest contains them.

    `unreadable` are manifests of a later version, and damaged ones. They may name files in a way that this version does
    not know, so they may use any fetched file. `broken` are those of them that may even have lost digests.
    """

    paths: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()
    unreadable: tuple[Path, ...] = ()
    broken: tuple[Path, ...] = ()

    def may_include(self, path: Path) -> bool:
        """Whether a manifest may use this fetched file."""
        return bool(self.unreadable) or os.path.realpath(path) in self.paths

    def may_include_blob(self, name: str) -> bool:
        """Whether a manifest may use this blob, or folder of links: its name ends with a digest."""
        return bool(self.broken) or name.rpartition("-")[2] in self.hashes


def file_uses(
    manifests: Iterable[Path], is_readable: Callable[[Path], bool], absolute: Callable[[str], Path]
) -> FileUses:
    """The uses in these manifests. `is_readable`: whether this version understands one; `absolute` reads a path."""
    paths: set[str] = set()
    hashes: set[str] = set()
    unreadable, broken = [], []
    for file in manifests:
        if not is_readable(file):
            unreadable.append(file)
        text = _text(file)
        if text is None:
            broken.append(file)
            continue
        hashes.update(_HASH.findall(text.lower()))
        for string in _strings(json.loads(text)):
            paths.update(_real_paths(string, absolute))
    return FileUses(frozenset(paths), frozenset(hashes), tuple(unreadable), tuple(broken))


def _text(file: Path) -> str | None:
    """The manifest, if it is a whole JSON object."""
    try:
        text = file.read_text()
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


def _real_paths(text: str, absolute: Callable[[str], Path]) -> Iterator[str]:
    """The files that a string means if it is a path: itself, or those in the folder."""
    if "/" not in text or "\0" in text or len(text) > LONGEST_PATH:
        return
    path = absolute(text)
    yield os.path.realpath(path)
    if Path(text).is_absolute():
        yield from (os.path.realpath(file) for file in path.glob("*"))
