"""What it costs a CPU to multiply by weights of each type, apart from reading them from memory. Pure.

Source: single-threaded decoding of random models of 180 million weights, one for each type, by the engine (b11549) on a
Zen 3 core at 2.4 GHz with AVX2 (`bin/bench speed`). Types that are not in the table were not measured, and count as the
nearest one of its family.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from oprel.formats.ggml_types import GGML_TYPES, GGMLType
from oprel.formats.gguf import GGUFFile, Tensor

# Nanoseconds of a core for each weight. F32, F16 and BF16 were bound by memory: what is left is an upper bound.
# fmt: off
NANOSECONDS = {
    "F32": 0.12, "F16": 0.1, "BF16": 0.12, "Q8_0": 0.098, "Q6_K": 0.087, "Q5_K": 0.087, "Q5_1": 0.091, "Q5_0": 0.091,
    "Q4_K": 0.057, "Q4_1": 0.07, "Q4_0": 0.057, "IQ4_NL": 0.057, "IQ4_XS": 0.092, "MXFP4": 0.06, "NVFP4": 0.06,
    "Q3_K": 0.078, "IQ3_S": 0.175, "IQ3_XXS": 0.175, "Q2_K": 0.066, "IQ2_S": 0.104, "IQ2_XS": 0.104, "IQ2_XXS": 0.104,
    "IQ1_S": 0.104, "IQ1_M": 0.104, "TQ2_0": 0.066, "TQ1_0": 0.066,
}
# fmt: on
USUAL_NANOSECONDS = 0.09
# The type of most tensors in a mix that has the name of none.
MIXES = {"IQ3_M": "IQ3_S", "IQ3_XS": "IQ3_XXS", "IQ2_M": "IQ2_S", "MXFP4_MOE": "MXFP4", "Q8_K": "Q8_0"}
BY_NAME = {kind.name: kind for kind in GGML_TYPES.values()}


@dataclass(frozen=True)
class Arithmetic:
    """Nanoseconds of a core for each byte of weights: of the layers, and of the output."""

    layers: float
    output: float


def arithmetic_of(header: GGUFFile) -> Arithmetic:
    """The average over the tensors that `header` lists."""
    layers = [tensor for tensor in header.tensors if tensor.name.startswith("blk.")]
    output = [tensor for tensor in header.tensors if tensor.name == "output.weight"]
    output = output or [tensor for tensor in header.tensors if tensor.name == "token_embd.weight"]
    return Arithmetic(_average(layers), _average(output))


def arithmetic_of_label(label: str) -> Arithmetic:
    """What is usual for a quantization of that name, such as "Q4_K_M"."""
    name = label.removeprefix("UD-")
    name = MIXES.get(name, name)
    while name and name not in BY_NAME:
        name = name.rpartition("_")[0]
    cost = _per_byte(BY_NAME.get(name, GGMLType.Q4_K))
    return Arithmetic(cost, cost)


def _average(tensors: Iterable[Tensor]) -> float:
    sizes = [(tensor.size_bytes, _per_byte(tensor.type)) for tensor in tensors]
    total = sum(size for size, _ in sizes)
    return sum(size * cost for size, cost in sizes) / total if total else _per_byte(GGMLType.Q4_K)


def _per_byte(kind: GGMLType) -> float:
    return NANOSECONDS.get(kind.name, USUAL_NANOSECONDS) * kind.block_elements / kind.block_bytes
