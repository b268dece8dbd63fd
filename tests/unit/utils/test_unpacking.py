"""Bodies that come compressed."""

import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard

from oprel.utils.unpacking import unpacked

MOST = 1000  # bytes


@pytest.mark.parametrize(
    ("encoding", "pack"), [("deflate", zlib.compress), ("gzip", gzip.compress), ("zstd", zstandard.compress)]
)
def test_a_body_may_come_compressed(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert unpacked(pack(b"{}"), encoding, MOST) == b"{}"
    with pytest.raises(ValueError, match=f"not valid {encoding}"):
        unpacked(b"nonsense", encoding, MOST)
    with pytest.raises(ValueError, match="larger than"):
        unpacked(pack(bytes(MOST + 1)), encoding, MOST)


def test_no_other_compression_is_known() -> None:
    with pytest.raises(ValueError, match="unknown content encoding 'br'"):
        unpacked(b"", "br", MOST)
