"""The size of an image from its header, whole, cut and damaged."""

import struct

import pytest

from oprel.utils.images import size_of

SIZE = (640, 480)
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", *SIZE)
GIF = b"GIF89a" + struct.pack("<HH", *SIZE)
BMP = b"BM" + bytes(16) + struct.pack("<ii", 640, -480)
PREVIEW = b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 12, 16)  # a frame inside a segment is none
EXIF = b"\xff\xe1" + struct.pack(">H", len(PREVIEW) + 2) + PREVIEW
FRAME = b"\x00\x11\x08" + struct.pack(">HH", 480, 640)
JPEG = b"\xff\xd8" + EXIF + b"\xff\xd0\xff\xff\xc2" + FRAME
WEBP = b"RIFF\x00\x00\x00\x00WEBP"
EXTENDED = WEBP + b"VP8X" + bytes(8) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
LOSSLESS = WEBP + b"VP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 639 | 479 << 14)
LOSSY = WEBP + b"VP8 " + bytes(10) + struct.pack("<HH", *SIZE)
IMAGES = [PNG, GIF, BMP, JPEG, EXTENDED, LOSSLESS, LOSSY]


@pytest.mark.parametrize("content", IMAGES)
def test_the_size_is_in_the_header(content: bytes) -> None:
    assert size_of(content) == SIZE
    assert size_of(content + bytes(100)) == SIZE


@pytest.mark.parametrize("content", IMAGES)
def test_a_header_that_ends_early_tells_nothing(content: bytes) -> None:
    assert {size_of(content[:end]) for end in range(10)} == {None}


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\xff\xd8\xff\xd9" + bytes(9), b"\xff\xd8\xff\xe1\x00\x00" * 3, WEBP]
)
def test_other_bytes_tell_nothing(content: bytes) -> None:
    assert size_of(content) is None
