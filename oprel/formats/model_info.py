"""What a model is, whatever its files are."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from oprel.formats.gguf import GGUFFile, Value
from oprel.utils.text import human_count, human_size

Format = Literal["gguf", "safetensors", "pytorch", "mlc"]
Capability = Literal["completion", "embedding", "rerank", "tools", "thinking", "insert", "vision", "audio"]

RANK_POOLING = 4
MAX_LAYERS = 1024  # engines have at most 512


@dataclass(frozen=True)
class Evidence:
    """Why files are taken for what they are: a sentence without its full stop. `doubt`, from 0 to 1, speaks against."""

    text: str
    doubt: float = 0.0


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes: of the weights as they are in the files, and of the KV cache of all that is served at the same time."""

    weights: int
    kv_cache: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache


@dataclass(frozen=True)
class ModelInfo:
    """A model of any format. None, or nothing, stands for what the files do not tell.

    `format` is one of `Format`, or that of a package's reader.
    `architecture` is such as "llama" or "qwen2", `quantization` such as "Q4_K_M", "BF16" or "GPTQ-4bit". `parameters`
    and `size_bytes` are of all files together. `heads` and `kv_heads` have a number for each layer, `head_dim` is the
    length of a key. `experts` are those of a layer, of which each token uses `experts_used`.
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
    evidence: tuple[Evidence, ...] = field(default=(), compare=False)

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self.size_bytes / self.parameters if self.parameters else None

    @property
    def method(self) -> str:
        """How the weights are packed, such as "GPTQ"; the type of weights that are not."""
        return re.sub(r"-\d+bit$", "", self.quantization)

    @property
    def confidence(self) -> float:
        """From 0 to 1: how sure it is that the files are such a model."""
        return prod(1 - one.doubt for one in self.evidence)

    def estimate_memory(self, context: int, sequences: int = 1, element_bytes: float = 2.0) -> MemoryNeed:
        """What serving `sequences` of `context` tokens at once takes, whichever engine does it.

        Every layer is taken for one of plain attention, so that windows and latent caches count as more than they are.
        Of a GGUF `telemetry.memory` tells exactly. What computing takes comes on top.
        """
        values = 2 * sum(self.kv_heads) * (self.head_dim or 0)  # keys and values of a token
        return MemoryNeed(self.size_bytes, round(values * element_bytes) * context * sequences)

    def display(self) -> Iterator[tuple[str, str]]:
        """What is known, as titles and texts for people."""
        bits, counts = self.bits_per_weight, {"attention heads": self.heads, "KV heads": self.kv_heads}
        told = {
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
        return ((title, text) for title, text in told.items() if text)


def _range(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return ""
    return str(numbers[0]) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}, by layer"


def from_gguf(*parts: GGUFFile) -> ModelInfo:
    """Of a model's files, the first of which describes it."""
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
    """What a chat template can carry beside messages."""
    told: Mapping[Capability, bool] = {
        "tools": "tools" in template,
        "thinking": "<think>" in template or "enable_thinking" in template,
    }
    return tuple(name for name, there in told.items() if there)


def _capabilities(header: GGUFFile) -> tuple[Capability, ...]:
    """None of a file that is no model alone: a projector, an adapter, a part."""
    if header.pooling_type is not None:
        return ("rerank",) if header.pooling_type == RANK_POOLING else ("embedding",)
    if not header.block_count or header.architecture == "clip" or header.metadata.get("general.type") == "adapter":
        return ()
    fills = any(f"tokenizer.ggml.{name}_token_id" in header.metadata for name in ("fim_pre", "prefix"))
    return ("completion", *of_template(header.chat_template or ""), *(("insert",) if fills else ()))


def _value(header: GGUFFile, name: str) -> Value | None:
    return header.metadata.get(f"{header.architecture}.{name}")


def _number(header: GGUFFile, name: str) -> int | None:
    found = _value(header, name)
    return found if type(found) is int else None


def _per_layer(header: GGUFFile, name: str) -> tuple[int, ...]:
    """A number for each layer, whether the header has one for all of them or an array."""
    match _value(header, name):
        case tuple(found):
            return tuple(one for one in found if type(one) is int)
        case int(found) if 0 < (header.block_count or 0) <= MAX_LAYERS:
            return (found,) * (header.block_count or 0)
        case _:
            return ()
