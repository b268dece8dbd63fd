"""Buffers bytes between a connection and the file."""

from oprel.utils.process import systems


class Block:
    """Pieces to be written from byte `first` on; bytes beyond `last` are dropped."""

    def __init__(self, first: int, last: int) -> None:
        self._pieces: list[bytes] = []
        self._position = first
        self._free_bytes = last + 1 - first
        self.size_bytes = 0
        self.has_dropped = False  # whether there were bytes beyond `last`

    def add(self, piece: bytes) -> None:
        kept = piece[: self._free_bytes]
        self.has_dropped = len(kept) < len(piece)
        self._pieces.append(kept)
        self._free_bytes -= len(kept)
        self.size_bytes += len(kept)

    def is_full(self, size_bytes: int) -> bool:
        """True with `size_bytes` buffered, or with as many pieces as one system call accepts."""
        return self.size_bytes >= size_bytes or len(self._pieces) >= systems.MOST_PIECES

    def write(self, descriptor: int) -> int:
        """Write the buffer, empty it and return the byte count. Raises OSError, which also empties the buffer."""
        count, self.size_bytes = self.size_bytes, 0
        pieces, self._pieces = self._pieces, []
        written = systems.write_at(descriptor, pieces, self._position)
        while written < count:
            written += systems.write_at(descriptor, [b"".join(pieces)[written:]], self._position + written)
        self._position += count
        return count
