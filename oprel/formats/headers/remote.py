"""The header of a GGUF file that lies elsewhere, read by ranges: its weights stay where they are.

Three requests suffice for all but the largest vocabularies: headers have 1 to 16 MB.
"""

import io
from collections.abc import Callable
from contextlib import suppress

from oprel.core.exceptions import InvalidModelError
from oprel.formats.gguf import GGUFFile, read_gguf_from

STEPS = (4 * 1024**2, 8 * 1024**2, 24 * 1024**2)  # bytes of the first requests; the later ones are as the last

Fetch = Callable[[int, int], bytes]  # from a byte to before another; what it raises goes through


def read_remote(fetch: Fetch, name: str, size_bytes: int) -> GGUFFile:
    """What `read_gguf` gives for the same file here. `name` is what errors call it; raises InvalidModelError."""
    return read_gguf_from(_Ranges(fetch, size_bytes), name, size_bytes)


def fetched_header(fetch: Fetch, name: str, size_bytes: int) -> bytes:
    """The beginning of the file as it is, as far as its header goes, or as far as that is one."""
    ranges = _Ranges(fetch, size_bytes)
    with suppress(InvalidModelError):
        read_gguf_from(ranges, name, size_bytes)
    return ranges.getvalue()


class _Ranges(io.BytesIO):
    """A file of which the beginning is there, and more of it as soon as somebody reads that far."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._steps = iter(STEPS)
        self._there = 0

    def read(self, size: int | None = -1, /) -> bytes:
        position = self.tell()
        wanted = self._size if size is None or size < 0 else min(position + size, self._size)
        while self._there < wanted:
            self._more(wanted)
        self.seek(position)
        return super().read(size)

    def _more(self, wanted: int) -> None:
        step = next(self._steps, STEPS[-1])
        end = min(self._size, max(self._there + step, wanted))
        content = self._fetch(self._there, end)
        self.seek(self._there)
        self.write(content)
        self._there += len(content) or self._size  # nothing came: what is missing will be noticed
