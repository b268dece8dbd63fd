"""How much memory an engine will take, before it is started: files, KV cache and what every engine needs. Bytes."""

from oprel.formats.gguf import GGUFFile

# Of the process, its compute buffers and its prompt templates: 72 MiB measured with the smallest models (b11549).
EVERY_ENGINE = 96 * 1024**2
# Bytes an element: blocks of 32 with their scales (ggml-quants).
CACHE_TYPES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}


def kv_bytes(header: GGUFFile, cells: int, cache_type: str) -> int:
    """The KV cache of `cells` tokens, every layer attending to all of them; 0 where the header does not tell.

    For each layer and token a key and a value for each KV head, as llama.cpp allocates them.
    """
    architecture = header.architecture
    layers, width = header.block_count or 0, header.embedding_length or 0
    heads = _per_layer(header, f"{architecture}.attention.head_count", layers)
    kv_heads = _per_layer(header, f"{architecture}.attention.head_count_kv", layers) or heads
    usual = width // heads[0] if heads and heads[0] else 0
    key, value = (
        next(iter(_per_layer(header, f"{architecture}.attention.{name}_length", 1)), usual) for name in ("key", "value")
    )
    return round(sum(kv_heads) * (key + value) * cells * CACHE_TYPES[cache_type])


def _per_layer(header: GGUFFile, key: str, layers: int) -> list[int]:
    """A number for each layer, whether the header has one for all of them or an array; [] when it has none."""
    found = header.metadata.get(key)
    if isinstance(found, int):
        return [found] * layers
    return [one for one in found if isinstance(one, int)] if isinstance(found, tuple) else []
