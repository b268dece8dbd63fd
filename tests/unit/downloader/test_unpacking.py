"""Answers that were packed without being asked to."""

import gzip
import random
import zlib
from collections.abc import Iterator

import httpx
import pytest

from oprel.downloader.network.unpacking import MOST_BYTES, PIECE_BYTES, BlockingUnpacked, packing

CONTENT = random.Random(1).randbytes(300_000)
PACKED = gzip.compress(CONTENT)


def unpacked(packed: bytes, step: int = 7000) -> Iterator[bytes]:
    """The pieces of an answer that comes `step` bytes at a time."""
    pieces = (packed[at : at + step] for at in range(0, len(packed), step))
    return iter(BlockingUnpacked(httpx.Response(200, content=pieces).stream))  # type: ignore[arg-type]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
@pytest.mark.parametrize("content", [CONTENT, b"", bytes(3 * PIECE_BYTES)], ids=["noise", "nothing", "zeros"])
def test_an_answer_is_what_was_packed(pack, content: bytes) -> None:
    assert b"".join(unpacked(pack(content))) == content


def test_an_answer_without_a_body_is_empty() -> None:
    assert b"".join(unpacked(b"")) == b""


def test_a_small_answer_does_not_fill_the_memory() -> None:
    bomb, received = gzip.compress(bytes(MOST_BYTES + 1), 9), 0
    with pytest.raises(httpx.RemoteProtocolError, match="more than"):
        for piece in unpacked(bomb):
            assert len(piece) <= PIECE_BYTES
            received += len(piece)
    assert received <= MOST_BYTES


@pytest.mark.parametrize(
    "packed", [gzip.compress(CONTENT, mtime=0)[:-9], b"no gzip at all", gzip.compress(CONTENT, mtime=0)[:100]]
)
def test_a_damaged_answer_is_an_error_of_the_server(packed: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="damaged|ended early"):
        list(unpacked(packed))


@pytest.mark.parametrize(("coding", "name"), [(None, ""), ("identity", ""), ("GZIP", "gzip"), ("br", "br")])
def test_the_coding_is_named(coding: str | None, name: str) -> None:
    assert packing(httpx.Response(200, headers={"Content-Encoding": coding} if coding else {})) == name
