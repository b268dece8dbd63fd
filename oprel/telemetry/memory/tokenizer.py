"""What an engine keeps of a vocabulary: the text of each token, its score, and how to find it again. Pure.

Fitted to the growth of llama.cpp b11549 with vocabularies of 30 to 262 thousand tokens (`bin/bench resident`).
"""

from dataclasses import dataclass

from oprel.formats.gguf import GGUFFile, SkippedArray

# Bytes for each token and for each merge, by the kind of the tokenizer (`tokenizer.ggml.model`).
TOKEN_BYTES = {"llama": 219, "gpt2": 238, "bert": 225, "t5": 500, "rwkv": 440}
USUAL_TOKEN = 238
MERGE_BYTES = 202
# Bytes for each token that loading needs for a while; the allocator keeps them, and samplers get them later.
FREED_BYTES = {"gpt2": 48}


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


def freed_bytes(tokenizer: Tokenizer) -> int:
    """Bytes of `tokenizer_bytes` that are free again after the load."""
    return FREED_BYTES.get(tokenizer.kind, 0) * tokenizer.tokens


def _length(value: object) -> int:
    return value.count if isinstance(value, SkippedArray) else len(value) if isinstance(value, tuple) else 0
