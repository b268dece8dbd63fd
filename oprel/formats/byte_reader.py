"""Bounds-checked reading of an untrusted binary file: numbers, strings and skips, never past its end or a limit."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, Literal

from oprel.core.exceptions import InvalidModelError

DAMAGED = "The file is damaged or incomplete: download it again."
CHUNK_BYTES = 1024**2

ByteOrder = Literal["little", "big"]


class ByteReader:
    """Reads a GGUF header in file order. `position` and `size_bytes` (of the whole file) are in bytes.

    Every method raises InvalidModelError, naming the file, the reason and the byte, when the file is too short, when
    the header would exceed `limit_bytes`, or when more than `limit_work` was charged. All checks run before anything
    is read or allocated. `keeps_arrays`: the caller wants even long arrays.
    """

    def __init__(
        self,
        file: BinaryIO,
        path: Path,
        *,
        limit_bytes: int,
        limit_work: int,
        size_bytes: int | None = None,
        keeps_arrays: bool = False,
    ) -> None:
        self._file = file
        self._limit_bytes = limit_bytes
        self._work_left = limit_work
        self.path = path
        self.keeps_arrays = keeps_arrays
        self.size_bytes = os.fstat(file.fileno()).st_size if size_bytes is None else size_bytes
        self.position = 0
        self.byte_order: ByteOrder = "little"

    def error(self, reason: str, advice: str = DAMAGED, *, at: int | None = None) -> InvalidModelError:
        """The error to raise. `at` is the offending byte, the current position by default."""
        where = self.position if at is None else at
        return InvalidModelError(f"{self.path} is not a usable GGUF model: {reason} (byte {where})", advice)

    def require(self, count: int, what: str = "the next value") -> None:
        """Check that `count` more bytes follow. `what` begins the error message."""
        left = self.size_bytes - self.position
        if count > left:
            raise self.error(f"{what} needs {count} bytes, but the file ends after {left}")
        if self.position + count > self._limit_bytes:
            raise self.error(f"{what} makes the header larger than {self._limit_bytes} bytes")

    def charge(self, count: int) -> None:
        """Charge `count` array elements to visit or characters to keep: they cost time and memory."""
        if count > self._work_left:
            raise self.error(f"{count} more elements exceed the limit for all arrays and strings together")
        self._work_left -= count

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        self.require(count)
        data = self._file.read(count)
        if len(data) < count:
            raise self.error("the file became shorter while it was read")
        self.position += count
        return data

    def skip(self, count: int) -> None:
        """Skip `count` bytes without reading them."""
        self.require(count)
        self.position = self._file.seek(self.position + count)

    def numbers(self, codes: str) -> tuple[int | float | bool, ...]:
        """`codes` are those of the struct module."""
        layout = self._layout(codes)
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def integers(self, codes: str) -> tuple[int, ...]:
        """Like `numbers`, for codes of integers."""
        return tuple(int(number) for number in self.numbers(codes))

    def integer(self, code: str) -> int:
        """A single integer, as in `integers`."""
        return self.integers(code)[0]

    def name(self, limit_bytes: int) -> str:
        """A string that is used as a key and displayed, so it must be short and valid UTF-8."""
        start, length = self.position, self.integer("Q")
        if length > limit_bytes:
            raise self.error(f"a name has {length} bytes, but at most {limit_bytes} are allowed", at=start)
        self.charge(length)
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise self.error("a name is not UTF-8", at=start) from error

    def text(self, length: int) -> str:
        """Text for display. Engines do not check its encoding, so invalid UTF-8 must not make a model unusable."""
        self.require(length)
        self.charge(length)
        return self.take(length).decode(errors="replace")

    def skip_strings(self, count: int) -> tuple[tuple[int, int], ...]:
        """Skip `count` strings, chunk by chunk: a vocabulary has hundreds of thousands.

        Returns the number of each chunk's first string, and its position.
        """
        self.require(8 * count, f"an array of {count} strings")
        self.charge(count)
        length_at = struct.Struct(self._layout("Q")).unpack_from
        all_strings, places = count, list[tuple[int, int]]()
        while count:
            start = self.position
            places.append((all_strings - count, start))
            # A string takes at least 8 bytes, so at most `count` strings begin in the chunk.
            chunk = self.take(min(CHUNK_BYTES, 8 * count))
            walked, last = 0, len(chunk) - 8
            while walked <= last:
                walked += 8 + length_at(chunk, walked)[0]
                count -= 1
            self.position = start
            self.skip(walked)
        return tuple(places)

    def _layout(self, codes: str) -> str:
        return ("<" if self.byte_order == "little" else ">") + codes
