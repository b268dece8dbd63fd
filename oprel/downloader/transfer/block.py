"""Bytes on their way from a connection to their place in a file."""

import os

MOST_PIECES = min(512, os.sysconf("SC_IOV_MAX"))


class Block:
    """Pieces that wait to be written from the byte `first` on; what lies beyond `last` is left out."""

    def __init__(self, first: int, last: int) -> None:
        self._pieces: list[bytes] = []
        self._position = first
        self._room = last + 1 - first
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        kept = piece[: self._room]
        self._pieces.append(kept)
        self._room -= len(kept)
        self.size_bytes += len(kept)

    def is_full(self, size_bytes: int) -> bool:
        """True with so many bytes, or with as many pieces as the kernel takes at a time."""
        return self.size_bytes >= size_bytes or len(self._pieces) >= MOST_PIECES

    def write(self, descriptor: int) -> int:
        """Write what waits, and return how many bytes that was. Raises OSError, and then nothing waits any more."""
        count, self.size_bytes = self.size_bytes, 0
        pieces, self._pieces = self._pieces, []
        written = os.pwritev(descriptor, pieces, self._position)
        while written < count:
            written += os.pwrite(descriptor, b"".join(pieces)[written:], self._position + written)
        self._position += count
        return count
