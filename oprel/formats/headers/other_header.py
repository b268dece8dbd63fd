"""Describes models in other formats as if they had a GGUF header, so that all code can work with headers."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oprel.formats.detect import detect
from oprel.formats.ggml_types import GGMLType
from oprel.formats.gguf import GGUFFile, Tensor, Value, looks_like_gguf
from oprel.formats.hugging_face.hf_config import chat_template, generation_config
from oprel.formats.hugging_face.sentence_encoder import POOLING_TYPES, SentenceEncoder, read_sentence_encoder
from oprel.formats.model_info import RANK_POOLING, ModelInfo
from oprel.formats.readers import knows
from oprel.formats.templates.prompts import prompt_metadata


@dataclass(frozen=True, kw_only=True)
class OtherHeader(GGUFFile):
    """The header of a model that is not GGUF. Weights are spread evenly over the layers; only their total is exact.

    `obstacle`: why oprel cannot convert it, where one might expect that.
    """

    info: ModelInfo
    obstacle: str = ""


def is_other(path: Path) -> bool:
    """Whether the model at `path` needs such a header."""
    return path.is_dir() or (not looks_like_gguf(path) and knows(path))


def read_other(path: Path) -> OtherHeader:
    """Raises InvalidModelError."""
    info = detect(path)
    metadata = {name: value for name, value in _metadata(path, info).items() if value is not None and value != ""}
    return OtherHeader(
        path=path,
        version=0,
        byte_order="little",
        metadata=metadata,
        tensors=tuple(_tensors(info)),
        data_offset=0,
        size_bytes=info.size_bytes,
        info=info,
    )


def _tensors(info: ModelInfo) -> Iterator[Tensor]:
    count = (info.layers or 0) + 1
    size, elements = info.size_bytes // count, (info.parameters or 0) // count
    names = ("token_embd.weight", *(f"blk.{number}.weight" for number in range(count - 1)))
    for number, name in enumerate(names):
        yield Tensor(name=name, shape=(elements,), type=GGMLType.F16, offset=number * size, size_bytes=size)


def _metadata(path: Path, info: ModelInfo) -> dict[str, Value | None]:
    named = info.architecture
    encoder = read_sentence_encoder(path) if path.is_dir() else SentenceEncoder()
    pooling = RANK_POOLING if "rerank" in info.capabilities else POOLING_TYPES[encoder.pooling]
    answers = "completion" in info.capabilities or not info.capabilities
    return {
        "general.architecture": named,
        "general.name": path.name,
        f"{named}.context_length": info.context_length,
        f"{named}.embedding_length": info.embedding_length,
        f"{named}.block_count": info.layers,
        f"{named}.vocab_size": info.vocabulary_size,
        f"{named}.attention.head_count": info.heads,
        f"{named}.attention.head_count_kv": info.kv_heads,
        f"{named}.attention.key_length": info.head_dim,
        f"{named}.attention.value_length": info.head_dim,
        f"{named}.expert_count": info.experts,
        f"{named}.expert_used_count": info.experts_used,
        f"{named}.pooling_type": None if answers else pooling,
        "tokenizer.chat_template": chat_template(path),
        **{f"general.sampling.{name}": value for name, value in generation_config(path).items()},
        **prompt_metadata(encoder.prompts),
    }
