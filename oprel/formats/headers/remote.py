"""Reads the header of a remote GGUF file with range requests, without its weights.

Headers have 1 to 16 MB, so three requests suffice for all but the largest vocabularies.
"""

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.byte_reader import ByteReader
from oprel.formats.gguf import MAX_HEADER_BYTES, MAX_WORK, GGUFFile, Value, begin, read_gguf_from
from oprel.formats.headers.roles import Start, is_shard

STEPS = (4 * 1024**2, 8 * 1024**2, 24 * 1024**2)  # bytes of the first requests; later ones use the last value
START_STEPS = (4 * 1024, 64 * 1024, STEPS[0])  # the first one has what is looked for in nearly all files

Fetch = Callable[[int, int], bytes]  # first byte and end (exclusive); its exceptions propagate


def read_remote(fetch: Fetch, name: str, size_bytes: int) -> GGUFFile:
    """Like `read_gguf`, for a remote file. `name` stands for the path in errors. Raises InvalidModelError."""
    return read_gguf_from(_Ranges(fetch, size_bytes), name, size_bytes)


def fetched_header(fetch: Fetch, name: str, size_bytes: int) -> bytes:
    """The raw bytes from the start of the file to the end of its header, or to where the header becomes invalid."""
    ranges = _Ranges(fetch, size_bytes)
    with suppress(InvalidModelError):
        read_gguf_from(ranges, name, size_bytes)
    return ranges.getvalue()


def read_start(fetch: Fetch, name: str, size_bytes: int) -> Start:
    """The start of a remote file. Raises InvalidModelError, and what `fetch` raises."""
    ranges = _Ranges(fetch, size_bytes, START_STEPS)
    reader = ByteReader(ranges, Path(name), limit_bytes=MAX_HEADER_BYTES, limit_work=MAX_WORK, size_bytes=size_bytes)
    _, tensor_count, keys = begin(reader)
    metadata = dict[str, Value]()
    for key, value in keys:
        metadata[key] = value
        if key.startswith("tokenizer.") and f"{metadata.get('general.architecture')}.block_count" in metadata:
            break
    return Start(tensor_count, metadata, is_shard(name))


class _Ranges(io.BytesIO):
    """A file whose beginning is present; reading further fetches more of it, by `steps` of bytes."""

    def __init__(self, fetch: Fetch, size: int, steps: Sequence[int] = STEPS) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._steps, self._last_step = iter(steps), steps[-1]
        self._there = 0

    def read(self, size: int | None = -1, /) -> bytes:
        position = self.tell()
        wanted = self._size if size is None or size < 0 else min(position + size, self._size)
        while self._there < wanted:
            self._more(wanted)
        self.seek(position)
        return super().read(size)

    def _more(self, wanted: int) -> None:
        step = next(self._steps, self._last_step)
        end = min(self._size, max(self._there + step, wanted))
        content = self._fetch(self._there, end)
        self.seek(self._there)
        self.write(content)
        self._there += len(content) or self._size  # an empty answer ends it; the reader notices the gap
