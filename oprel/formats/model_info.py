"""Describes a model independently of its format."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from oprel.formats.gguf import GGUFFile, Value
from oprel.formats.templates.thinking import thinking_of
from oprel.utils.text import human_count, human_size

Format = Literal["gguf", "safetensors", "pytorch", "mlc"]
Capability = Literal["completion", "embedding", "rerank", "tools", "thinking", "insert", "vision", "audio"]

RANK_POOLING = 4
MAX_LAYERS = 1024  # engines have at most 512


@dataclass(frozen=True)
class Evidence:
    """Why files are recognized as a format: a sentence without full stop. `doubt` (0 to 1) lowers the confidence."""

    text: str
    doubt: float = 0.0


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of the weights as stored in the files, and of the KV cache of all concurrent sequences."""

    weights: int
    kv_cache: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model of any format. Fields that the files do not state are None or empty.

    `format` is one of `Format` or that of a plugin's reader, `architecture` such as "llama" or "qwen2", `quantization`
    such as "Q4_K_M", "BF16" or "GPTQ-4bit". `parameters` and `size_bytes` cover all files. `heads` and `kv_heads` have
    one number per layer; `head_dim` is the length of a key. Each token uses `experts_used` of a layer's `experts`.
    `converts`: oprel makes a GGUF of it for llama.cpp.
    """

    format: str
    architecture: str
    quantization: str
    size_bytes: int
    parameters: int | None = None
    context_length: int | None = None
    vocabulary_size: int | None = None
    embedding_length: int | None = None
    layers: int | None = None
    heads: tuple[int, ...] = ()
    kv_heads: tuple[int, ...] = ()
    head_dim: int | None = None
    experts: int | None = None
    experts_used: int | None = None
    capabilities: tuple[Capability, ...] = ()
    converts: bool = False
    evidence: tuple[Evidence, ...] = field(default=(), compare=False)

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self.size_bytes / self.parameters if self.parameters else None

    @property
    def method(self) -> str:
        """How the weights are packed, such as "GPTQ"; for unpacked weights their data type."""
        return re.sub(r"-\d+bit$", "", self.quantization)

    @property
    def confidence(self) -> float:
        """From 0 to 1: how certain the detection is."""
        return prod(1 - evidence.doubt for evidence in self.evidence)

    def estimate_memory(self, context: int, sequences: int = 1, element_bytes: float = 2.0) -> MemoryNeed:
        """Memory for serving `sequences` of `context` tokens each at once, on any engine; compute buffers come on top.

        Assumes plain attention in every layer, which overestimates sliding windows and latent caches. For a GGUF,
        `telemetry.memory` is exact.
        """
        values = 2 * sum(self.kv_heads) * (self.head_dim or 0)  # keys and values of a token
        return MemoryNeed(self.size_bytes, round(values * element_bytes) * context * sequences)

    def display(self) -> Iterator[tuple[str, str]]:
        """The stated properties, as titles and texts for display."""
        bits, counts = self.bits_per_weight, {"attention heads": self.heads, "KV heads": self.kv_heads}
        rows = {
            "format": f"{self.format} (confidence {self.confidence:.2f})",
            "architecture": self.architecture,
            "parameters": human_count(self.parameters) if self.parameters else "",
            "quantization": f"{self.quantization}, {bits:.3g} bits a weight" if bits else self.quantization,
            "size": human_size(self.size_bytes),
            "context length": str(self.context_length or ""),
            "vocabulary": str(self.vocabulary_size or ""),
            "layers": str(self.layers or ""),
            **{title: _range(numbers) for title, numbers in counts.items()},
            "experts": f"{self.experts}, {self.experts_used} of them used" if self.experts else "",
            "capabilities": ", ".join(self.capabilities),
        }
        return ((title, text) for title, text in rows.items() if text)


def _range(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return ""
    return str(numbers[0]) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}, by layer"


def from_gguf(*parts: GGUFFile) -> ModelInfo:
    """Describe a model from the headers of its files; the first one holds the metadata."""
    first = parts[0]
    heads = _per_layer(first, "attention.head_count")
    usual = first.embedding_length // heads[0] if first.embedding_length and heads and heads[0] else None
    return ModelInfo(
        format="gguf",
        architecture=first.architecture,
        quantization=first.quantization,
        size_bytes=sum(part.size_bytes for part in parts),
        parameters=sum(part.parameter_count for part in parts) or None,
        context_length=first.context_length,
        vocabulary_size=first.vocabulary_size,
        embedding_length=first.embedding_length,
        layers=first.block_count,
        heads=heads,
        kv_heads=_per_layer(first, "attention.head_count_kv") or heads,
        head_dim=_number(first, "attention.key_length") or usual,
        experts=_number(first, "expert_count"),
        experts_used=_number(first, "expert_used_count"),
        capabilities=_capabilities(first),
    )


def of_template(template: str) -> tuple[Capability, ...]:
    """The capabilities that a chat template supports."""
    supported: Mapping[Capability, bool] = {
        "tools": "tools" in template,
        "thinking": thinking_of(template) is not None,
    }
    return tuple(name for name, is_supported in supported.items() if is_supported)


def _capabilities(header: GGUFFile) -> tuple[Capability, ...]:
    """Empty for a file that is not a model by itself: a projector, an adapter, a part."""
    if header.pooling_type is not None:
        return ("rerank",) if header.pooling_type == RANK_POOLING else ("embedding",)
    if not header.block_count or header.architecture == "clip" or header.metadata.get("general.type") == "adapter":
        return ()
    fills = any(f"tokenizer.ggml.{name}_token_id" in header.metadata for name in ("fim_pre", "prefix"))
    return ("completion", *of_template(header.chat_template or ""), *(("insert",) if fills else ()))


def _value(header: GGUFFile, name: str) -> Value | None:
    return header.metadata.get(f"{header.architecture}.{name}")


def _number(header: GGUFFile, name: str) -> int | None:
    value = _value(header, name)
    return value if type(value) is int else None


def _per_layer(header: GGUFFile, name: str) -> tuple[int, ...]:
    """One number per layer, whether the header has a single number or an array."""
    match _value(header, name):
        case tuple(numbers):
            return tuple(number for number in numbers if type(number) is int)
        case int(number) if 0 < (header.block_count or 0) <= MAX_LAYERS:
            return (number,) * (header.block_count or 0)
        case _:
            return ()
