"""What the process of an engine takes beside the buffers of a model. Pure.

Fitted to the resident peaks of llama.cpp b11549 over the models of `bin/bench resident`, which reports what is left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from oprel.telemetry.memory.dims import ModelDims
from oprel.telemetry.memory.kv_cache import Cells
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.tokenizer import Tokenizer, freed_bytes, tokenizer_bytes
from oprel.telemetry.memory.weights import ARM, AVX2, AVX512
from oprel.telemetry.memory.widths import Widths

MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class Program:
    """Bytes of an engine's program with the smallest model: its own, and library pages that others may share.

    `repacks`: the types of weights that its kernels read from a copy in another order.
    """

    private: int
    shared: int
    repacks: frozenset[str] = AVX2


WHEEL = Program(private=14 * MIB + MIB // 2, shared=20 * MIB)  # Python with the xllamacpp extension
NATIVE = Program(private=6 * MIB, shared=14 * MIB)  # llama-server

# One candidate of the sampler is a token's number, its logit and its probability (`llama_token_data` in llama.h).
CANDIDATE_BYTES, ELEMENT_BYTES = 12, 4
THREAD = MIB // 2  # stack and allocator of a thread that has served a slot
INPUT_BLOCK = 34, 32  # bytes and elements: the inputs of a quantized matrix are converted to Q8


def for_features(program: Program, features: Iterable[str]) -> Program:
    """The program on a CPU with these instruction sets (names as in Linux); unknown ones count as AVX2."""
    available = frozenset(features)
    kernels = ((ARM, {"asimddp", "i8mm"}), (AVX512, {"avx512f"}), (AVX2, {"avx2"}))
    types = next((types for types, needed in kernels if available & needed), frozenset[str]() if available else AVX2)
    return replace(program, repacks=types)


@dataclass(frozen=True, kw_only=True)
class ProcessMemory:
    """Bytes of the process, by reason. `outputs`: what samplers and poolers keep of logits."""

    private: int
    shared: int
    tokenizer: int
    outputs: int
    threads: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.private + self.shared + self.tokenizer + self.outputs + self.threads

    @property
    def at_work(self) -> int:
        """What only requests use."""
        return self.outputs + self.threads

    def corrected(self, ratio: float) -> "ProcessMemory":
        """Every part multiplied by `ratio`."""
        return ProcessMemory(**{name: round(ratio * size) for name, size in vars(self).items()})


def process_memory(
    program: Program, tokenizer: Tokenizer, dims: ModelDims, widths: Widths, shape: LoadShape, cells: Cells
) -> ProcessMemory:
    """The process of `program` that runs a model with `shape`."""
    slots = max(1, shape.slots)
    outputs = slots * CANDIDATE_BYTES * dims.vocabulary - freed_bytes(tokenizer)
    if shape.embedding:  # logits and embeddings of all tokens, although only one vector is read (`output_reserve`)
        outputs = cells.tokens * ELEMENT_BYTES * (dims.vocabulary + dims.embedding)
    return ProcessMemory(
        private=program.private,
        shared=program.shared,
        tokenizer=tokenizer_bytes(tokenizer),
        outputs=max(0, outputs),
        threads=slots * THREAD + _work_bytes(widths, cells),
    )


def _work_bytes(widths: Widths, cells: Cells) -> int:
    """The inputs of the widest matrix, converted for its kernel (`ggml_graph_plan` in ggml-cpu.c)."""
    size, elements = INPUT_BLOCK
    return cells.tokens * widths.input * size // elements
