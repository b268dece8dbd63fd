"""How a model is to be run, as far as it decides how much memory it takes."""

from dataclasses import dataclass

# Bytes of a block and its elements, for each type a cache can have (ggml/src/ggml.c, `type_traits`).
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


@dataclass(frozen=True)
class LoadShape:
    """The engine's own options: `context` is `-c`, of all slots together, in tokens; 0 means as trained.

    `gpu_layers` counts as `-ngl` does: the output first, then layers from the last to the first; None offloads all.
    `split` says how layers are shared among the devices, in any unit; empty where engines see none but the CPU. A
    device that an engine sees computes large batches even if no layer lies there.
    `cpu_experts`: of how many layers, from the first, the experts stay on the CPU (`--n-cpu-moe`).
    `rollback`: tokens that a recurrent state can be taken back by (speculative decoding).
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
    rollback: int = 0


def row_bytes(cache_type: str, elements: int) -> int:
    """Bytes of one row; like the engine, blocks that are begun count whole."""
    size, block = CACHE_TYPES[cache_type]
    return -(-elements // block) * size
