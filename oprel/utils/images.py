"""The size of an image, from the first bytes of its file. Pure.

Sources: the PNG, GIF and WebP specifications, Microsoft's BITMAPINFOHEADER, and ITU T.81 (JPEG) for the frame header.
"""

import struct
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # of a JPEG: the markers that begin with its size
BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, as the header states them; None for another format, or too few bytes.

    >>> size_of(b"GIF89a" + bytes((64, 1, 200, 0)))
    (320, 200)
    """
    try:
        return _size_of(content)
    except struct.error:
        return None


def _size_of(content: bytes) -> tuple[int, int] | None:
    """Raises struct.error where the bytes end."""
    if content.startswith(PNG):
        return _pair(">II", content, 16)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _pair("<HH", content, 6)
    if content.startswith(b"BM"):
        width, height = _pair("<ii", content, 18)
        return abs(width), abs(height)
    if content.startswith(b"\xff\xd8"):
        return next(_frames(content), None)
    return _webp(content) if content.startswith(b"RIFF") and content[8:12] == b"WEBP" else None


def _pair(layout: str, content: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, content, at)
    return first, second


def _frames(content: bytes) -> Iterator[tuple[int, int]]:
    """The sizes of a JPEG's frames, without those of the preview inside another segment."""
    at = 2
    while True:
        start, marker = struct.unpack_from("BB", content, at)
        if start != 0xFF:
            return
        if marker in FRAMES:
            height, width = _pair(">HH", content, at + 5)
            yield width, height
        if marker == 0xFF:  # a byte of padding
            at += 1
        elif marker in BARE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", content, at + 2)
            at += 2 + length


def _webp(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8X":
            width, height = (int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
            return width + 1, height + 1
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = _pair("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None
