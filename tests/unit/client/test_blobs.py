"""Files on their way to the daemon."""

import hashlib
from pathlib import Path

import pytest

from oprel.client import blobs

CONTENT = bytes(range(256)) * 70_000  # more than two pieces


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_named_by_its_content(file: Path) -> None:
    assert blobs.digest_of(file) == blobs.digest_of(str(file)) == f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


def test_its_length_is_known_before_it_is_sent(file: Path) -> None:
    assert blobs.length(file) == {"Content-Length": str(len(CONTENT))}


def test_it_is_read_in_pieces(file: Path) -> None:
    pieces = list(blobs.chunks(file))
    assert b"".join(pieces) == CONTENT
    assert [len(piece) for piece in pieces[:-1]] == [blobs.CHUNK, blobs.CHUNK]


async def test_coroutines_read_the_same_pieces(file: Path) -> None:
    assert [piece async for piece in blobs.chunks_async(file)] == list(blobs.chunks(file))


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(blobs.chunks(tmp_path / "empty")) == []
