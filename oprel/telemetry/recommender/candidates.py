"""The variants of a model as candidates for a plan, and how good their quantizations are. Pure.

The grades follow llama.cpp's measurements of its quantizations (KL divergence from 16 bits, tools/perplexity/README.md
of b11549): above 6 bits the loss is hardly noticeable, Q4_K_M is the usual compromise, and below about 3.5 bits the
loss grows fast, the faster the smaller the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from oprel.core.variants import Variant, bits_per_weight
from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.corrections import NONE, Corrections
from oprel.telemetry.memory.estimator import ModelFootprint, footprint_of
from oprel.telemetry.memory.process import WHEEL, Program
from oprel.telemetry.recommender.placement import PlacementInput, Solution, refused
from oprel.telemetry.recommender.speed.arithmetic import Arithmetic, arithmetic_of_label
from oprel.telemetry.recommender.speed.threads import Threads

BILLION = 10**9
# Quantizations best first, if memory suffices. Others rank with the one that has about as many bits.
BY_QUALITY = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_XXS", "IQ2_M")
BY_SPEED = ("Q4_K_M", "Q4_K_S", "IQ4_XS", "Q5_K_M", "Q6_K", "Q8_0", *BY_QUALITY[6:])
NATIVE = ("MXFP4_MOE", "NVFP4")  # formats that models are trained in: more bits would hold no more information
SMALL_MODEL = 4 * BILLION
# The fewest bits, as a quantization, that a model of fewer parameters than the limit bears.
FLOORS = ((SMALL_MODEL, "Q4_K_M"), (14 * BILLION, "Q3_K_L"), (40 * BILLION, "IQ3_M"), (70 * BILLION, "IQ3_XXS"))
LAST_FLOOR = "IQ2_M"
GOOD_BITS = 4.3  # between Q3_K_L, which is worse than GOOD, and MXFP4, which is GOOD
LARGE_BITS = 9.0  # 16 and 32 bits: no better than 8 bits, at twice the size or more


class Grade(IntEnum):
    """How well a quantized model answers: like the original, slightly worse, or worse than a smaller model would."""

    GOOD = 0
    LESSER = 1
    POOR = 2


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A variant of a model. `parameters` is the number of weights, `file_bytes` the size of its files, 0 if unknown.

    `tensor_arithmetic` is None if no header lists its tensors. The other fields are those of `PlacementInput`.
    """

    label: str
    footprint: ModelFootprint
    parameters: int
    projector: int = 0
    adapters: int = 0
    corrections: Corrections = NONE
    program: Program = WHEEL
    file_bytes: int = 0
    is_whole: bool = False
    tensor_arithmetic: Arithmetic | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of the weights in memory."""
        return self.footprint.weights.total

    @cached_property
    def bits(self) -> float:
        """Bits per weight: as measured for the quantization (see `bits_per_weight`), else computed from the size."""
        return bits_per_weight(self.label) or 8 * self.size_bytes / max(self.parameters, 1)

    @cached_property
    def arithmetic(self) -> Arithmetic:
        """What the weights cost a CPU: by the types of the tensors where a header lists them, else by the label."""
        return self.tensor_arithmetic or arithmetic_of_label(self.label)

    @property
    def active_parameters(self) -> float:
        """Parameters that a token passes through: all, without the unused experts of a mixture of experts."""
        dims, weights = self.footprint.dims, self.footprint.weights
        if not (dims.experts and dims.experts_used and weights.total):
            return float(self.parameters)
        idle = sum(weights.experts) / weights.total * (1 - min(1.0, dims.experts_used / dims.experts))
        return self.parameters * (1 - idle)

    @property
    def placement_input(self) -> PlacementInput:
        """What placing this candidate needs to know."""
        return PlacementInput(
            footprint=self.footprint,
            projector=self.projector,
            adapters=self.adapters,
            corrections=self.corrections,
            program=self.program,
            is_whole=self.is_whole,
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One candidate in a plan: its best solution, or its smallest one if none fits.

    `speed` is in tokens per second with these `threads`, None if unknown. `why` is the reason why it was not chosen,
    empty for the chosen one.
    """

    candidate: Candidate
    solution: Solution
    fits: bool
    speed: float | None
    threads: Threads
    why: str = ""

    @property
    def contradiction(self) -> str | None:
        """Why engines refuse to start with the KV cache of this solution, however much memory is available."""
        return refused(self.candidate.placement_input, self.solution.setting)


def grade_of(candidate: Candidate) -> Grade:
    """How much of the model's quality the candidate keeps, by its bits and the size of the model (`FLOORS`)."""
    if candidate.bits >= GOOD_BITS:
        return Grade.GOOD
    names = (label for limit, label in FLOORS if candidate.parameters < limit)
    floor = bits_per_weight(next(names, LAST_FLOOR)) or 0.0
    return Grade.LESSER if candidate.bits >= floor else Grade.POOR


def sized(header: GGUFFile, variants: Sequence[Variant], projector: int = 0) -> list[Candidate]:
    """Candidates for all `variants` of a model from one header: the others are scaled by the size of their files.

    The header of a first shard lists only some of the tensors, so the number of parameters is taken from the sizes and
    quantizations of the variants if that gives more. `projector` is the bytes that image input needs.
    """
    whole = footprint_of(header)
    counts = [8 * variant.size_bytes / bits for variant in variants if (bits := bits_per_weight(variant.label))]
    parameters = max(header.parameter_count, round(min(counts, default=0)))
    return [
        Candidate(
            label=variant.label,
            footprint=whole.resized(variant.size_bytes, variant.label),
            parameters=parameters,
            projector=projector,
            file_bytes=variant.size_bytes,
        )
        for variant in variants
    ]
