"""Output in encodings that lack characters, such as ASCII in a C locale: those are replaced, and never an error."""

import codecs
import io
import sys

HANDLER = "oprel.replaced"  # the name of the error handler
SIMILAR = {
    "✓": "+",
    "✗": "x",
    "➤": ">",
    "•": "*",
    "…": "...",
    "±": "+-",
    "μ": "u",
    "─": "-",
    "│": "|",
    "█": "#",
    "▓": "#",
    "▒": "=",
    "░": ".",
}


def replace_missing_characters() -> None:
    """Write standard output and error without what their encoding lacks, and with undecodable names as they were."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """
    >>> "✓ 5…".encode("ascii", HANDLER)
    b'+ 5...'
    >>> "caf\\udce9 é".encode("utf-8", HANDLER)  # a name of a file whose bytes are not UTF-8
    b'caf\\xe9 \\xc3\\xa9'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    if all(0xDC80 <= ord(character) <= 0xDCFF for character in part):  # bytes that PEP 383 hides in a text
        return part.encode("utf-8", "surrogateescape"), error.end
    return "".join(SIMILAR.get(character, "?") for character in part), error.end


codecs.register_error(HANDLER, _replaced)
