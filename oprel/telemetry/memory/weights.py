"""Where a model's tensors lie. Exact.

Sources, in llama.cpp b11549: `llama_model_base::load_tensors` in src/llama-model.cpp (which layer goes where; the
input stays on the CPU), `LLM_TENSOR_INFOS` in src/llama-arch.cpp (what belongs to input, output and layers),
`llm_ffn_exps_block_regex` in common/common.h (experts).
"""

import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

from oprel.formats.gguf import GGUFFile, Tensor
from oprel.telemetry.memory.dims import MOST_LAYERS
from oprel.telemetry.memory.load_shape import LoadShape

LAYER = re.compile(r"blk\.(\d+)\.")
EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch)?exps")
INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")

CPU = -1


@dataclass(frozen=True)
class Weights:
    """Bytes. `experts` are a part of `layers`; `shared_output` is the embedding, where it serves as output too.

    `largest` is the largest tensor of any layer.
    """

    layers: tuple[int, ...]
    experts: tuple[int, ...]
    input: int
    output: int
    shared_output: int
    largest: int

    @property
    def total(self) -> int:
        return sum(self.layers) + self.input + self.output

    def resized(self, total: int) -> "Weights":
        """All of them larger or smaller by the same share, until they are `total` together."""
        factor = total / self.total if self.total else 0.0

        def sizes(numbers: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(round(number * factor) for number in numbers)

        return Weights(
            sizes(self.layers), sizes(self.experts), *sizes((self.input, self.output, self.shared_output, self.largest))
        )


def weights_of(header: GGUFFile) -> Weights:
    """The sizes of what is in the file; of one shard, when the model is split."""
    layers, experts = Counter[int](), Counter[int]()
    into, out, embedding, largest = 0, 0, 0, 0
    for tensor in header.tensors:
        found = LAYER.match(tensor.name)
        if found and int(found[1]) < MOST_LAYERS:
            layers[int(found[1])] += tensor.size_bytes
            experts[int(found[1])] += tensor.size_bytes if EXPERTS.search(tensor.name) else 0
            largest = max(largest, tensor.size_bytes)
        elif tensor.name.startswith(INPUT):
            into += tensor.size_bytes
            embedding += tensor.size_bytes if tensor.name == "token_embd.weight" else 0
        else:
            out += tensor.size_bytes
    count = max(layers, default=-1) + 1
    shared = 0 if _has_output(header.tensors) else embedding
    return Weights(
        tuple(layers[number] for number in range(count)),
        tuple(experts[number] for number in range(count)),
        into,
        out,
        shared,
        largest,
    )


def _has_output(tensors: tuple[Tensor, ...]) -> bool:
    return any(tensor.name == "output.weight" for tensor in tensors)


def devices_of(layers: int, wishes: LoadShape) -> list[int]:
    """The device of each layer, and of the output as the last one: its number, or CPU."""
    if not wishes.split:
        return [CPU] * (layers + 1)
    asked = layers + 1 if wishes.gpu_layers is None else min(wishes.gpu_layers, layers + 1)
    bounds = [part / (sum(wishes.split) or 1) for part in accumulate(wishes.split)]
    last = len(wishes.split) - 1
    return [
        CPU if place < 0 else min(bisect_right(bounds, place / asked), last)
        for place in range(asked - layers - 1, asked)
    ]
