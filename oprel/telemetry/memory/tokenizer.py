"""What an engine keeps of a vocabulary: the text of each token, its score, and how to find it again. Pure.

Fitted to the growth of llama.cpp b11549 with vocabularies of 30 to 262 thousand tokens (`bin/bench resident`).
"""

from dataclasses import dataclass

from oprel.formats.gguf import GGUFFile, SkippedArray

# Bytes for each token and for each merge, by the kind of the tokenizer (`tokenizer.ggml.model`).
TOKEN_BYTES = {"llama": 230, "gpt2": 160, "bert": 200, "t5": 250, "rwkv": 200}
USUAL_TOKEN = 200
MERGE_BYTES = 140


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """The vocabulary of a model: the kind of tokenizer, and how many tokens and merges it has."""

    kind: str = ""
    tokens: int = 0
    merges: int = 0


def tokenizer_of(header: GGUFFile) -> Tokenizer:
    """The tokenizer that `header` describes."""
    kind = header.metadata.get("tokenizer.ggml.model")
    return Tokenizer(
        kind=kind if isinstance(kind, str) else "",
        tokens=header.vocabulary_size or 0,
        merges=_length(header.metadata.get("tokenizer.ggml.merges")),
    )


def tokenizer_bytes(tokenizer: Tokenizer) -> int:
    """Bytes that the engine keeps of the vocabulary."""
    return TOKEN_BYTES.get(tokenizer.kind, USUAL_TOKEN) * tokenizer.tokens + MERGE_BYTES * tokenizer.merges


def _length(value: object) -> int:
    return value.count if isinstance(value, SkippedArray) else len(value) if isinstance(value, tuple) else 0
