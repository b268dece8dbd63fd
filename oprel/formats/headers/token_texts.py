"""The texts of single tokens of a GGUF model, read from where its header skipped them."""

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from oprel.formats.byte_reader import ByteOrder
from oprel.formats.gguf import GGUFFile, SkippedArray

TOKENS = "tokenizer.ggml.tokens"
END_KEYS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
LONGEST_TOKEN = 1024  # bytes


def declared_ends(header: GGUFFile) -> frozenset[str]:
    """The texts of the tokens that a file declares as ends of generation. Blocks for a moment the first time."""
    ids = [token for key in END_KEYS if type(token := header.metadata.get(key)) is int]
    match header.metadata.get(TOKENS):
        case SkippedArray(count=count, places=places):
            read = (_token(header.path, header.byte_order, places, token) for token in ids if 0 <= token < count)
            return frozenset(text for text in read if text)
        case tuple(tokens):
            return frozenset(str(tokens[token]) for token in ids if 0 <= token < len(tokens))
    return frozenset()


@lru_cache(maxsize=1024)
def _token(path: Path, order: ByteOrder, places: tuple[tuple[int, int], ...], token: int) -> str:
    """The text of one token; "" if the file has changed meanwhile."""
    try:
        with path.open("rb") as file:
            first, position = max((place for place in places if place[0] <= token), default=(0, 0))
            file.seek(position)
            return next(text for number, text in enumerate(_strings(file.read, order), first) if number == token)
    except (OSError, StopIteration, struct.error):
        return ""


def _strings(read: Callable[[int], bytes], order: ByteOrder) -> Iterator[str]:
    layout = struct.Struct("<Q" if order == "little" else ">Q")
    while (length := layout.unpack(read(8))[0]) <= LONGEST_TOKEN:
        yield read(length).decode(errors="replace")
