"""Decompresses the bodies of HTTP messages within bounds."""

import zlib


def unpacked(content: bytes, encoding: str, most: int) -> bytes:
    """The content without its `Content-Encoding`. Codex sends zstd.

    Raises ValueError if it is damaged, has another encoding, or would be larger than `most` bytes.
    """
    match encoding.lower():
        case "" | "identity":
            return content
        case "zstd":
            plain = _of_zstd(content, most + 1)
        case "gzip" | "deflate":
            plain = _of_zlib(content, encoding, most + 1)
        case _:
            raise ValueError(f"unknown content encoding {encoding!r}: use zstd, gzip or deflate")
    if len(plain) > most:
        raise ValueError(f"the request body is larger than {most} bytes")
    return plain


def _of_zlib(content: bytes, encoding: str, most: int) -> bytes:
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(content, most)
    except zlib.error as error:
        raise ValueError(f"the request body is not valid {encoding}: {error}") from error


def _of_zstd(content: bytes, most: int) -> bytes:
    import zstandard  # imported late: most daemons never see such a body

    try:
        return zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read(most)
    except zstandard.ZstdError as error:
        raise ValueError(f"the request body is not valid zstd: {error}") from error
