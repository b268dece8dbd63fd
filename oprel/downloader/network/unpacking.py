"""Unpacks answers that a server or a proxy packed without being asked to, piece by piece.

A small answer may unpack to gigabytes (CVE-2024-12886): no piece is larger than `PIECE_BYTES`, and an answer that is
needed whole in memory has a limit.
"""

import zlib
from collections.abc import AsyncIterator, Iterator

import httpx

PIECE_BYTES = 2**20
MOST_BYTES = 64 * 2**20  # of an answer that is read as a whole
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
PACKINGS = ("gzip", "x-gzip", "deflate")


class _Unpacker:
    def __init__(self, most_bytes: int | None) -> None:
        self._zlib = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._left = most_bytes
        self._is_empty = True

    def pieces(self, packed: bytes) -> Iterator[bytes]:
        """Raises httpx.RemoteProtocolError."""
        self._is_empty = self._is_empty and not packed
        while packed:
            try:
                piece = self._zlib.decompress(packed, PIECE_BYTES)
            except zlib.error as error:
                raise httpx.RemoteProtocolError("the packed answer is damaged") from error
            packed = self._zlib.unconsumed_tail
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    raise httpx.RemoteProtocolError(f"the packed answer has more than {MOST_BYTES} bytes")
            yield piece

    def end(self) -> None:
        if not (self._is_empty or self._zlib.eof):
            raise httpx.RemoteProtocolError("the packed answer ended early")


class Unpacked(httpx.AsyncByteStream):
    def __init__(self, packed: httpx.AsyncByteStream) -> None:
        self._packed = packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacker = _Unpacker(None)
        async for packed in self._packed:
            for piece in unpacker.pieces(packed):
                yield piece
        unpacker.end()

    async def aclose(self) -> None:
        await self._packed.aclose()


class BlockingUnpacked(httpx.SyncByteStream):
    """Raises httpx.RemoteProtocolError for more than MOST_BYTES."""

    def __init__(self, packed: httpx.SyncByteStream) -> None:
        self._packed = packed

    def __iter__(self) -> Iterator[bytes]:
        unpacker = _Unpacker(MOST_BYTES)
        for packed in self._packed:
            yield from unpacker.pieces(packed)
        unpacker.end()

    def close(self) -> None:
        self._packed.close()


def packing(response: httpx.Response) -> str:
    """The coding of an answer; "" for a plain one."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    return "" if coding == "identity" else coding[:20]


def plain_headers(response: httpx.Response) -> httpx.Headers:
    """The headers of an answer once it is unpacked."""
    headers = response.headers.copy()
    for name in ("content-encoding", "content-length"):
        headers.pop(name, None)
    return headers
