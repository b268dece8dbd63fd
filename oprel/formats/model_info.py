"""What a model is, whatever its files are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from oprel.formats.gguf import GGUFFile, Value

Format = Literal["gguf", "safetensors", "pytorch"]
Capability = Literal["completion", "embedding", "rerank", "tools", "thinking", "insert", "vision", "audio"]

RANK_POOLING = 4
MAX_LAYERS = 1024  # engines have at most 512


@dataclass(frozen=True)
class ModelInfo:
    """None, or nothing, stands for what the files do not tell.

    `architecture` is such as "llama" or "qwen2", `quantization` such as "Q4_K_M", "BF16" or "GPTQ-4bit". `parameters`
    and `size_bytes` are of all files together. `heads` and `kv_heads` have a number for each layer, `head_dim` is the
    length of a key. `experts` are those of a layer, of which each token uses `experts_used`.
    """

    format: Format
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

    @property
    def bits_per_weight(self) -> float | None:
        return 8 * self.size_bytes / self.parameters if self.parameters else None


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
