"""The options of an engine that decide how much memory it needs."""

from dataclasses import dataclass

# Bytes and elements of a block, for each type that a cache can have (ggml/src/ggml.c, `type_traits`).
CACHE_TYPES = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
    "iq4_nl": (18, 32),
}


@dataclass(frozen=True, kw_only=True)
class LoadShape:
    """The engine's own options. `context` is `-c`: tokens of all slots together; 0 means the trained context length.

    `gpu_layers` counts as `-ngl` does: the output first, then layers from the last to the first; None offloads all.
    `split` is how layers are divided among the devices, in any unit; empty if the engine sees only the CPU. A device
    that the engine sees computes large batches even if it holds no layer.
    `cpu_experts`: the experts of so many layers, from the first, stay on the CPU (`--n-cpu-moe`).
    `mmap`: whether the engine maps the weights' file into memory, or reads it; None where the weights decide.
    `rollback`: tokens by which a recurrent state can be rolled back (for speculative decoding).
    """

    context: int = 0
    slots: int = 1
    unified: bool = False
    key_type: str = "f16"
    value_type: str = "f16"
    batch: int = 2048
    ubatch: int = 512
    flash_attention: bool = True
    swa_full: bool = False
    embedding: bool = False
    gpu_layers: int | None = None
    split: tuple[float, ...] = ()
    cpu_experts: int = 0
    mmap: bool | None = None
    rollback: int = 0


def row_bytes(cache_type: str, elements: int) -> int:
    """Bytes of a row of `elements`. A partial block counts as a whole one, as in the engine."""
    size, block = CACHE_TYPES[cache_type]
    return -(-elements // block) * size
