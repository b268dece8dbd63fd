"""What of a file is here already, and how that is written down beside it. Pure but for `load` and `save`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

VERSION = 1
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what reading a note raises that is none


@dataclass(frozen=True)
class Version:
    """Which content is being fetched. `etag` is as `host` told it, or its time of change where it tells no etag."""

    size_bytes: int
    sha256: str = ""
    etag: str = ""
    host: str = ""

    def agrees(self, other: "Version") -> bool:
        """True when nothing speaks against both being the same bytes. Mirrors may have etags of their own for them."""
        if self.size_bytes != other.size_bytes or self.sha256 != other.sha256:
            return False
        comparable = self.host == other.host or not self.sha256
        return self.etag == other.etag or not (self.etag and other.etag and comparable)


class Segments:
    """A file in pieces of `segment_bytes`, each filled from its beginning."""

    def __init__(self, size_bytes: int, segment_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.segment_bytes = segment_bytes
        self.done_bytes = 0
        self._frontier = 0  # bytes from the file's beginning, up to a segment's end
        self._beyond: dict[int, int] = {}  # segment -> bytes of it, for those that begin at the frontier or later

    @classmethod
    def restored(cls, size_bytes: int, segment_bytes: int, frontier: int, beyond: Mapping[str, int]) -> "Segments":
        """As `state` had it. Raises ValueError for what no file can be in."""
        segments = cls(size_bytes, segment_bytes)
        if segment_bytes < 1 or not 0 <= frontier <= size_bytes:
            raise ValueError("no state of a file")
        segments.add_until(frontier)
        for number, count in beyond.items():
            first, last = segments.gap(int(number)) or (0, -1)
            if not 0 < count <= last - first + 1:
                raise ValueError("no state of a segment")
            segments.add(int(number), count)
        return segments

    @property
    def state(self) -> dict[str, object]:
        return {"segment": self.segment_bytes, "frontier": self._frontier, "beyond": self._beyond}

    @property
    def frontier(self) -> int:
        """Bytes from the file's beginning that are here without a gap."""
        return self._frontier + self._beyond.get(self._frontier // self.segment_bytes, 0)

    @property
    def is_complete(self) -> bool:
        return self.done_bytes == self.size_bytes

    def missing(self) -> Iterator[int]:
        """The segments that are not whole, in order."""
        for number in range(self._frontier // self.segment_bytes, -(-self.size_bytes // self.segment_bytes)):
            if self.gap(number):
                yield number

    def gap(self, number: int) -> tuple[int, int] | None:
        """The first and the last byte that a segment lacks; None for a whole one."""
        start, end = number * self.segment_bytes, min((number + 1) * self.segment_bytes, self.size_bytes)
        if start < self._frontier:
            return None
        first = start + self._beyond.get(number, 0)
        return (first, end - 1) if first < end else None

    def add(self, number: int, count: int) -> None:
        """`count` more bytes of a segment are here."""
        self._beyond[number] = self._beyond.get(number, 0) + count
        self.done_bytes += count
        self._advance()

    def add_until(self, position: int) -> None:
        """All bytes from the beginning to `position` are here."""
        while self.frontier < position:
            number = self.frontier // self.segment_bytes
            self.add(number, min(position, (number + 1) * self.segment_bytes) - self.frontier)

    def _advance(self) -> None:
        while (number := self._frontier // self.segment_bytes) in self._beyond and self.gap(number) is None:
            self._frontier += self._beyond.pop(number)


def save(path: Path, version: Version, segments: Segments) -> None:
    """Write the state down, so that a process may be killed at any time, though not the machine. Raises OSError."""
    content = {
        "version": VERSION,
        "size": version.size_bytes,
        "sha256": version.sha256,
        "etag": version.etag,
        "host": version.host,
        "boot": _boot(),
        **segments.state,
    }
    temporary = temporary_of(path)  # always the same: who saves is alone, and one that is killed leaves no more
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def temporary_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def load(path: Path, wanted: Version) -> tuple[Version, Segments] | None:
    """The state of a transfer of `wanted`, or None: without one, with one of another content, or a damaged one.

    What was written before the machine last started may not have reached the disk. It counts only where a SHA-256 will
    tell.
    """
    try:
        content = json.loads(path.read_bytes())
        version = Version(*(content[key] for key in ("size", "sha256", "etag", "host")))
        trusted = content["version"] == VERSION and (wanted.sha256 != "" or content["boot"] == _boot())
        segments = _segments(content)
    except DAMAGED:
        return None
    return (version, segments) if trusted and version.agrees(wanted) else None


def noted(path: Path) -> Segments | None:
    """What of a file is here by the note of its transfer; None where there is none that can be read."""
    try:
        return _segments(json.loads(path.read_bytes()))
    except DAMAGED:
        return None


def _segments(content: Any) -> Segments:
    """Of a note as JSON. Raises one of DAMAGED."""
    return Segments.restored(content["size"], content["segment"], content["frontier"], content["beyond"])


def host_of(url: str) -> str:
    return urlsplit(url).netloc


def _boot() -> int:
    """Tells one start of the machine from another."""
    return int(psutil.boot_time())
