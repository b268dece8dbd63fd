"""Which parts of a file are complete, and how that state is saved beside it. Pure except for `load` and `save`."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from oprel.utils.files import open_own, read_own

VERSION = 1
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what reading a damaged state file raises


@dataclass(frozen=True)
class Version:
    """Which content is being fetched. `etag` is as sent by `host`, or its Last-Modified if it sends no ETag."""

    size_bytes: int
    sha256: str = ""
    etag: str = ""
    host: str = ""

    def agrees(self, other: "Version") -> bool:
        """True if both may be the same bytes.

        Mirrors, and nodes of one host, may use their own ETags for the same content; a digest decides at the end.
        """
        if self.size_bytes != other.size_bytes or self.sha256 != other.sha256:
            return False
        return bool(self.sha256) or self.etag == other.etag or not (self.etag and other.etag)


class Segments:
    """A file in segments of `segment_bytes`, each filled from its start."""

    def __init__(self, size_bytes: int, segment_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.segment_bytes = segment_bytes
        self.done_bytes = 0
        self._frontier = 0  # bytes from the start of the file to the end of the last complete segment
        self._beyond: dict[int, int] = {}  # segment -> its bytes, for segments that begin at the frontier or later

    @classmethod
    def restored(cls, size_bytes: int, segment_bytes: int, frontier: int, beyond: Mapping[str, int]) -> "Segments":
        """Restore a `state`. Raises ValueError for an impossible one."""
        segments = cls(size_bytes, segment_bytes)
        if segment_bytes < 1 or not 0 <= frontier <= size_bytes:
            raise ValueError("invalid state of a file")
        segments.add_until(frontier)
        for number, count in beyond.items():
            first, last = segments.gap(int(number)) or (0, -1)
            if not 0 < count <= last - first + 1:
                raise ValueError("invalid state of a segment")
            segments.add(int(number), count)
        return segments

    @property
    def state(self) -> dict[str, object]:
        return {"segment": self.segment_bytes, "frontier": self._frontier, "beyond": self._beyond}

    @property
    def frontier(self) -> int:
        """The number of contiguous bytes from the start of the file."""
        return self._frontier + self._beyond.get(self._frontier // self.segment_bytes, 0)

    @property
    def end(self) -> int:
        """Where the last byte ends that is there."""
        last = max(self._beyond, default=None)
        return self._frontier if last is None else last * self.segment_bytes + self._beyond[last]

    @property
    def is_complete(self) -> bool:
        return self.done_bytes == self.size_bytes

    def missing(self) -> Iterator[int]:
        """The incomplete segments, in order."""
        for number in range(self._frontier // self.segment_bytes, -(-self.size_bytes // self.segment_bytes)):
            if self.gap(number):
                yield number

    def gap(self, number: int) -> tuple[int, int] | None:
        """The first and last byte that a segment lacks; None for a complete one."""
        start, end = number * self.segment_bytes, min((number + 1) * self.segment_bytes, self.size_bytes)
        if start < self._frontier:
            return None
        first = start + self._beyond.get(number, 0)
        return (first, end - 1) if first < end else None

    def add(self, number: int, count: int) -> None:
        """Record `count` more bytes of a segment."""
        self._beyond[number] = self._beyond.get(number, 0) + count
        self.done_bytes += count
        self._advance()

    def add_until(self, position: int) -> None:
        """Record all bytes from the start to `position`."""
        while self.frontier < position:
            number = self.frontier // self.segment_bytes
            self.add(number, min(position, (number + 1) * self.segment_bytes) - self.frontier)

    def _advance(self) -> None:
        while (number := self._frontier // self.segment_bytes) in self._beyond and self.gap(number) is None:
            self._frontier += self._beyond.pop(number)


def save(path: Path, version: Version, segments: Segments) -> None:
    """Save the state, so that it survives a kill of the process, but not a crash of the machine. Raises OSError."""
    content = {
        "version": VERSION,
        "size": version.size_bytes,
        "sha256": version.sha256,
        "etag": version.etag,
        "host": version.host,
        "boot": _boot(),
        **segments.state,
    }
    temporary = temporary_of(path)  # a fixed name: there is one writer, and a killed one leaves a single file
    temporary.unlink(missing_ok=True)
    with open(open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
        json.dump(content, file)
    temporary.replace(path)


def temporary_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def load(path: Path, wanted: Version) -> tuple[Version, Segments] | None:
    """The saved state of a transfer of `wanted`; None if it is missing, damaged or for other content.

    Data written before the last boot may not have reached the disk, so such a state counts only if a SHA-256 can verify
    the file.
    """
    try:
        content = json.loads(read_own(path))
        version = Version(*(content[key] for key in ("size", "sha256", "etag", "host")))
        trusted = content["version"] == VERSION and (wanted.sha256 != "" or content["boot"] == _boot())
        segments = _segments(content)
    except DAMAGED:
        return None
    return (version, segments) if trusted and version.agrees(wanted) else None


def saved_segments(path: Path) -> Segments | None:
    """The saved segments of a file; None if there is no readable state."""
    try:
        return _segments(json.loads(read_own(path)))
    except DAMAGED:
        return None


def _segments(content: Any) -> Segments:
    """The segments in a parsed state file. Raises one of DAMAGED."""
    return Segments.restored(content["size"], content["segment"], content["frontier"], content["beyond"])


def host_of(url: str) -> str:
    return urlsplit(url).netloc


def _boot() -> int:
    """Identifies the current boot of the machine."""
    import psutil  # imported late: a daemon that downloads nothing does without it

    return int(psutil.boot_time())
