"""WordPiece tokenizers as GGUF metadata.

Sources: the layout of `tokenizer.json` (huggingface/tokenizers) and of `vocab.txt`; the keys that llama.cpp reads for
its tokenizer "bert", in which a word's first piece begins with U+2581 and the others have no mark.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import UnsupportedError
from oprel.formats.gguf import Scalar
from oprel.formats.untrusted_json import Json, invalid, read_bytes, read_object

WORD_START, CONTINUES = "▁", "##"
NORMAL, CONTROL, UNUSED = 1, 3, 5
# The special tokens, with llama.cpp's keys for them.
SPECIAL: Mapping[str, tuple[str, ...]] = {
    "[CLS]": ("bos_token_id", "cls_token_id"),
    "[SEP]": ("eos_token_id", "seperator_token_id"),
    "[UNK]": ("unknown_token_id",),
    "[PAD]": ("padding_token_id",),
    "[MASK]": ("mask_token_id",),
}
NEEDED = ("[CLS]", "[SEP]", "[UNK]")


@dataclass(frozen=True, kw_only=True)
class WordPiece:
    """`pieces` in the order of their numbers, as the model's files spell them."""

    pieces: tuple[str, ...]
    lowercase: bool = True
    strips_accents: bool = True

    def metadata(self, size: int) -> dict[str, Scalar | tuple[Scalar, ...]]:
        """For a model of `size` tokens, which may be more than there are pieces. Raises UnsupportedError for fewer."""
        if len(self.pieces) > size:
            raise UnsupportedError(f"its vocabulary has {len(self.pieces)} pieces, but there are {size} embeddings")
        numbers = {piece: number for number, piece in enumerate(self.pieces)}
        spare = range(len(self.pieces), size)
        kinds = [CONTROL if piece in SPECIAL else NORMAL for piece in self.pieces]
        return {
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.pre": "default",
            "tokenizer.ggml.tokens": (*map(_marked, self.pieces), *(f"[unused-{number}]" for number in spare)),
            "tokenizer.ggml.token_type": (*kinds, *(UNUSED for _ in spare)),
            "tokenizer.ggml.token_type_count": 0,
            "tokenizer.ggml.normalizer.lowercase": self.lowercase,
            "tokenizer.ggml.normalizer.strip_accents": self.strips_accents,
            **{
                f"tokenizer.ggml.{key}": numbers[piece]
                for piece, keys in SPECIAL.items()
                if piece in numbers
                for key in keys
            },
        }


def read_wordpiece(folder: Path) -> WordPiece:
    """The folder's tokenizer. Raises UnsupportedError for one of another kind, InvalidModelError for a damaged one."""
    path = folder / "tokenizer.json"
    tokenizer = _of_json(path, read_object(path)) if path.is_file() else _of_text(folder)
    missing = [piece for piece in NEEDED if piece not in tokenizer.pieces]
    if missing:
        raise UnsupportedError(f"its vocabulary has no {missing[0]}")
    return tokenizer


def _of_json(path: Path, content: Mapping[str, Json]) -> WordPiece:
    model, normalizer, splitter = (_part(content, name) for name in ("model", "normalizer", "pre_tokenizer"))
    vocabulary = model.get("vocab")
    if model.get("type", "WordPiece") != "WordPiece" or not isinstance(vocabulary, dict):
        raise UnsupportedError("its tokenizer is not WordPiece")
    if normalizer.get("type") != "BertNormalizer" or splitter.get("type") != "BertPreTokenizer":
        raise UnsupportedError("its tokenizer prepares texts in another way than BERT's")
    if model.get("continuing_subword_prefix", CONTINUES) != CONTINUES:
        raise UnsupportedError(f"its tokenizer marks pieces in another way than with {CONTINUES}")
    lowercase = normalizer.get("lowercase", True) is not False
    return WordPiece(
        pieces=_in_order(path, vocabulary),
        lowercase=lowercase,
        strips_accents=_switch(normalizer.get("strip_accents"), lowercase),
    )


def _of_text(folder: Path) -> WordPiece:
    path, settings = folder / "vocab.txt", folder / "tokenizer_config.json"
    if not path.is_file():
        raise UnsupportedError("it has no WordPiece vocabulary")
    lines = read_bytes(path).decode(errors="replace").split("\n")
    config = read_object(settings) if settings.is_file() else {}
    lowercase = config.get("do_lower_case", True) is not False
    pieces = tuple(line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines))
    return WordPiece(pieces=pieces, lowercase=lowercase, strips_accents=_switch(config.get("strip_accents"), lowercase))


def _part(content: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = content.get(name)
    return part if isinstance(part, dict) else {}


def _switch(value: Json, otherwise: bool) -> bool:
    return value if isinstance(value, bool) else otherwise


def _in_order(path: Path, vocabulary: Mapping[str, Json]) -> tuple[str, ...]:
    """Raises InvalidModelError unless the numbers are 0, 1, 2 and so on."""
    pieces = {number: piece for piece, number in vocabulary.items() if type(number) is int}
    if sorted(pieces) != list(range(len(vocabulary))):
        raise invalid(path, "the tokens of its vocabulary are not numbered from 0 on", 0)
    return tuple(pieces[number] for number in range(len(pieces)))


def _marked(piece: str) -> str:
    if piece in SPECIAL:
        return piece
    return piece.removeprefix(CONTINUES) if piece.startswith(CONTINUES) else WORD_START + piece
