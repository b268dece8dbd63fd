"""How the tensors of a model are distributed over devices. Exact.

Sources, in llama.cpp b11549: `llama_model_base::load_tensors` in src/llama-model.cpp (placement of layers; the input
stays on the CPU), `LLM_TENSOR_INFOS` in src/llama-arch.cpp (which tensors are input, output and layers),
`llm_ffn_exps_block_regex` in common/common.h (experts).
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from oprel.formats.gguf import GGUFFile, Tensor
from oprel.telemetry.memory.dims import MOST_LAYERS
from oprel.telemetry.memory.load_shape import LoadShape

LAYER = re.compile(r"blk\.(\d+)\.")
EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch)?exps")
# Types that the kernels of CPUs read from a copy in another order (`ggml_repack_get_optimal_repack_type` in
# ggml-cpu/repack.cpp), and of how many rows a matrix must be a multiple.
AVX2 = frozenset(("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"))
AVX512 = AVX2 | {"Q2_K"}
ARM = AVX2 | {"Q5_K", "Q6_K", "Q8_0"}
REPACKED_ROWS = 8
# The types that the layers consist of in the usual mixes, and their parts.
MIXES = {
    "Q4_K_S": {"Q4_K": 0.9, "Q5_K": 0.1},
    "Q4_K_M": {"Q4_K": 0.65, "Q6_K": 0.35},
    "Q5_K_S": {"Q5_K": 1.0},
    "Q5_K_M": {"Q5_K": 0.65, "Q6_K": 0.35},
    "MXFP4_MOE": {"MXFP4": 0.95},
}
INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")

CPU = OUTPUT = -1


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes of tensors. `experts` are included in `layers`; `shared_output` is the embedding if it is also the output.

    `largest` is the largest tensor of any layer. `matrices`, of each layer and of the output: bytes by the type, of
    matrices that a CPU's kernels may want in another order.
    """

    layers: tuple[int, ...]
    experts: tuple[int, ...]
    input: int
    output: int
    shared_output: int
    largest: int
    matrices: tuple[Mapping[str, int], ...]
    output_matrices: Mapping[str, int]

    @property
    def total(self) -> int:
        """All weights once, in bytes."""
        return sum(self.layers) + self.input + self.output

    def repacked(self, types: frozenset[str]) -> int:
        """Bytes of copies for the kernels of a CPU that wants these types in another order, if all layers are on it."""
        return sum(repacked_of(matrices, types) for matrices in (*self.matrices, self.output_matrices))

    def resized(self, total: int, quantization: str = "") -> "Weights":
        """All sizes scaled so that they sum to `total` bytes."""
        factor = total / self.total if self.total else 0.0

        def size(number: int) -> int:
            return round(number * factor)

        return Weights(
            layers=tuple(map(size, self.layers)),
            experts=tuple(map(size, self.experts)),
            input=size(self.input),
            output=size(self.output),
            shared_output=size(self.shared_output),
            largest=size(self.largest),
            matrices=tuple(_mixed(quantization, size(layer)) for layer in self.layers),
            output_matrices={},
        )


def repacked_of(matrices: Mapping[str, int], types: frozenset[str]) -> int:
    """Bytes of the matrices that are of one of `types`."""
    return sum(size for name, size in matrices.items() if name in types)


def _mixed(quantization: str, size: int) -> Mapping[str, int]:
    label = quantization.removeprefix("UD-").removesuffix("_XL").removesuffix("_L")
    mix = MIXES.get(label) or MIXES.get(f"{label}_M") or {label: 1.0}
    return {name: int(part * size) for name, part in mix.items()}


def maps(weights: Weights, shape: LoadShape, repacks: frozenset[str]) -> bool:
    """Whether the file is mapped; it is read instead if most of it would lie in memory twice, as it is and repacked."""
    if shape.mmap is not None:
        return shape.mmap
    return bool(shape.split) or 2 * weights.repacked(repacks) < weights.total


def weights_of(header: GGUFFile) -> Weights:
    """The sizes of the tensors that `header` lists: for a sharded model, those of one shard."""
    layers, experts, matrices = Counter[int](), Counter[int](), defaultdict[int, Counter[str]](Counter)
    into, out, embedding, largest = 0, 0, 0, 0
    for tensor in header.tensors:
        match = LAYER.match(tensor.name)
        if match and int(match[1]) < MOST_LAYERS:
            layers[int(match[1])] += tensor.size_bytes
            experts[int(match[1])] += tensor.size_bytes if EXPERTS.search(tensor.name) else 0
            matrices[int(match[1])][tensor.type.name] += tensor.size_bytes if _is_matrix(tensor) else 0
            largest = max(largest, tensor.size_bytes)
        elif tensor.name.startswith(INPUT):
            into += tensor.size_bytes
            embedding += tensor.size_bytes if tensor.name == "token_embd.weight" else 0
        else:
            out += tensor.size_bytes
            matrices[OUTPUT][tensor.type.name] += tensor.size_bytes if _is_matrix(tensor) else 0
    count = max(layers, default=-1) + 1
    return Weights(
        layers=tuple(layers[number] for number in range(count)),
        experts=tuple(experts[number] for number in range(count)),
        input=into,
        output=out,
        shared_output=0 if _has_output(header.tensors) else embedding,
        largest=largest,
        matrices=tuple(matrices[number] for number in range(count)),
        output_matrices=matrices[OUTPUT],
    )


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.name.endswith(".weight") and len(tensor.shape) > 1 and tensor.shape[1] % REPACKED_ROWS == 0


def _has_output(tensors: tuple[Tensor, ...]) -> bool:
    return any(tensor.name == "output.weight" for tensor in tensors)


def devices_of(layers: int, shape: LoadShape) -> list[int]:
    """The device number, or CPU, of each layer, and of the output as the last entry."""
    if not shape.split:
        return [CPU] * (layers + 1)
    offloaded = layers + 1 if shape.gpu_layers is None else min(shape.gpu_layers, layers + 1)
    bounds = [part / (sum(shape.split) or 1) for part in accumulate(shape.split)]
    last = len(shape.split) - 1
    return [
        CPU if place < 0 else min(bisect_right(bounds, place / offloaded), last)
        for place in range(offloaded - layers - 1, offloaded)
    ]
