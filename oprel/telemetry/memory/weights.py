"""How the tensors of a model are distributed over devices. Exact.

Sources, in llama.cpp b11549: `llama_model_base::load_tensors` in src/llama-model.cpp (placement of layers; the input
stays on the CPU), `LLM_TENSOR_INFOS` in src/llama-arch.cpp (which tensors are input, output and layers),
`llm_ffn_exps_block_regex` in common/common.h (experts).
"""

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate, takewhile

from oprel.formats.gguf import GGUFFile, Tensor
from oprel.telemetry.memory.dims import MOST_LAYERS
from oprel.telemetry.memory.load_shape import LoadShape

LAYER = re.compile(r"blk\.(\d+)\.")
EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch)?exps")
# Types that the CPU's kernels read from a copy in another order (`ggml_repack_get_optimal_repack_type` in
# ggml-cpu/repack.cpp, for x86), and of how many rows a matrix must be a multiple.
REPACKED, REPACKED_ROWS = frozenset(("Q4_0", "Q4_K", "IQ4_NL", "MXFP4")), 8
# The part of the layers that they are in the usual mixes.
REPACKED_SHARES = {"Q4_0": 1.0, "IQ4_NL": 1.0, "MXFP4_MOE": 0.95, "Q4_K_S": 0.9, "Q4_K_M": 0.65}
INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")

CPU = -1


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes of tensors. `experts` are included in `layers`; `shared_output` is the embedding if it is also the output.

    `largest` is the largest tensor of any layer. `repacked` and `repacked_output`: what copies for the CPU's kernels
    take, if these tensors are on the CPU. `unmapped`: what then lies at the ends of the file and is not mapped any
    more.
    """

    layers: tuple[int, ...]
    experts: tuple[int, ...]
    input: int
    output: int
    shared_output: int
    largest: int
    repacked: tuple[int, ...]
    repacked_output: int
    unmapped: int

    @property
    def total(self) -> int:
        """All weights once, in bytes."""
        return sum(self.layers) + self.input + self.output

    @property
    def repacked_total(self) -> int:
        """Bytes of copies for the CPU's kernels, if all layers are on the CPU."""
        return sum(self.repacked) + self.repacked_output

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
            repacked=tuple(int(REPACKED_SHARES.get(quantization, 0.0) * size(layer)) for layer in self.layers),
            repacked_output=0,
            unmapped=0,
        )


def maps(weights: Weights, shape: LoadShape) -> bool:
    """Whether the file is mapped; it is read instead if most of it would lie in memory twice, as it is and repacked."""
    if shape.mmap is not None:
        return shape.mmap
    return bool(shape.split) or 2 * weights.repacked_total < weights.total


def weights_of(header: GGUFFile) -> Weights:
    """The sizes of the tensors that `header` lists: for a sharded model, those of one shard."""
    layers, experts, repacked = Counter[int](), Counter[int](), Counter[int]()
    into, out, repacked_out, embedding, largest = 0, 0, 0, 0, 0
    for tensor in header.tensors:
        match = LAYER.match(tensor.name)
        if match and int(match[1]) < MOST_LAYERS:
            layers[int(match[1])] += tensor.size_bytes
            experts[int(match[1])] += tensor.size_bytes if EXPERTS.search(tensor.name) else 0
            repacked[int(match[1])] += tensor.size_bytes if _is_repacked(tensor) else 0
            largest = max(largest, tensor.size_bytes)
        elif tensor.name.startswith(INPUT):
            into += tensor.size_bytes
            embedding += tensor.size_bytes if tensor.name == "token_embd.weight" else 0
        else:
            out += tensor.size_bytes
            repacked_out += tensor.size_bytes if _is_repacked(tensor) else 0
    count = max(layers, default=-1) + 1
    return Weights(
        layers=tuple(layers[number] for number in range(count)),
        experts=tuple(experts[number] for number in range(count)),
        input=into,
        output=out,
        shared_output=0 if _has_output(header.tensors) else embedding,
        largest=largest,
        repacked=tuple(repacked[number] for number in range(count)),
        repacked_output=repacked_out,
        unmapped=_unmapped(header.tensors),
    )


def _is_repacked(tensor: Tensor) -> bool:
    is_matrix = tensor.name.endswith(".weight") and len(tensor.shape) > 1 and not tensor.name.startswith(INPUT)
    return is_matrix and tensor.type.name in REPACKED and tensor.shape[1] % REPACKED_ROWS == 0


def _unmapped(tensors: tuple[Tensor, ...]) -> int:
    """Bytes of repacked tensors before the first that stays where it is, and after the last (`get_mapping_range`)."""
    in_file = sorted(tensors, key=lambda tensor: tensor.offset)
    ends = (takewhile(_is_repacked, in_file), takewhile(_is_repacked, reversed(in_file)))
    return sum(tensor.size_bytes for end in ends for tensor in end) if not all(map(_is_repacked, tensors)) else 0


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
