"""How fast a model generates tokens for a single request. Pure.

On a CPU a token takes
- the longer of two times, or somewhat more where they are about equal (`TOGETHER`): that to read the weights and the
  cache from memory, and that of the arithmetic on them (`arithmetic`), which threads share;
- what threads hardly share: small operations of each layer, the barriers after them, recurrent states, and the choice
  of a token among the whole vocabulary.

On a GPU it takes the time to read, and that to start the kernels of each layer. Without the latter, models with few
used weights would be faster than any that were ever measured.

The constants of CPUs are fitted to the runs of `bin/bench speed`, on two Zen 3 cores at 2.4 GHz (engine b11549, AVX2):
16 types of weights, 6 to 24 layers of widths 192 to 2048, vocabularies of 512 to 262 144, contexts of 8 to 3800
tokens, mixtures of experts and recurrent models, one and two threads. Those of GPUs are compared with published runs of
llama.cpp: a 7B in Q4_0 on RTX 3090 and 4090 (ggml-org/llama.cpp#6766), an 8B in Q4_K_M on RTX 5090, gpt-oss-120b on DGX
Spark and four RTX 3090: within 35 %.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from oprel.telemetry.memory.dims import LayerDims
from oprel.telemetry.memory.estimator import Share
from oprel.telemetry.memory.kv_cache import cells_of
from oprel.telemetry.memory.widths import Mixer
from oprel.telemetry.recommender.budgets import Budgets
from oprel.telemetry.recommender.candidates import Candidate
from oprel.telemetry.recommender.placement import Solution
from oprel.telemetry.recommender.speed.threads import BARRIER_SECONDS, Threads, threads_for

PLEASANT = 3.0  # tokens per second; slower answers take longer than reading them aloud
BEGUN = 64  # tokens of a conversation that has begun: each token takes the least time there
USUAL_FILLED = 1024  # tokens of a usual conversation, for which speed is predicted

# CPUs
MEMORY_SHARE = 0.8  # of the measured bandwidth: what kernels that compute reach
CORE_BANDWIDTH = 16e9  # bytes per second that one core reads
TOGETHER = 4  # the exponent with which times of reading and arithmetic add up: more means that they overlap better
# Seconds of a core
LAYER_SECONDS = 25e-6  # small operations of a layer
ENTRY_SECONDS = 7e-9  # an entry of the vocabulary, when a token is chosen
STATE_SECONDS = 2e-9  # an element of a recurrent state
EXPONENT_SECONDS = 25e-9  # one of Mamba 1: an exponential each, which threads share
ATTENTION_SECONDS = 0.9e-9  # an element of a key or value, for each head and token of the context

# GPUs
GPU_SHARE = 0.65  # of the peak bandwidth: 60 to 80 % is usual with quantized weights
KERNELS_SECONDS, EXPERTS_SECONDS = 30e-6, 50e-6  # the kernels of a layer, and of one with experts


def tokens_per_second(
    candidate: Candidate,
    solution: Solution,
    budgets: Budgets,
    filled: int = USUAL_FILLED,
    *,
    threads: int | None = None,
) -> float | None:
    """Tokens per second of a single request in whose context are `filled` tokens, or as many as it may have.

    `threads` compute a token, by default one on each core. Returns None if a GPU's bandwidth is unknown, or if no
    tokens are generated, as by a projector. Where that of the machine's memory was not measured, it is guessed.
    """
    budgets = replace(budgets, cores=min(threads or budgets.cores, budgets.cores))
    token = _Token(candidate, solution, budgets, min(filled, solution.setting.context))
    on_gpus = token.gpu_seconds()
    if on_gpus is None:
        return None
    seconds = on_gpus + token.cpu_seconds() + token.choice_seconds()
    return 1 / seconds if seconds else None


def planned_threads(candidate: Candidate, solution: Solution, budgets: Budgets, fixed: int | None = None) -> Threads:
    """How many threads the engine gets: `fixed` by the user, or as many as suit the model and the machine."""
    if fixed:
        return Threads(fixed, fixed, f"{fixed} thread{'s' * (fixed > 1)}, as requested")
    token = _Token(candidate, solution, budgets, BEGUN)
    return threads_for(token.shared_seconds(), layers_on_cpu(solution), budgets.cores, budgets.busy)


def bandwidth_of(budgets: Budgets) -> float:
    """Bytes per second that the CPU reads: as measured, else a modest guess for so many cores."""
    guess = min(8e9 * budgets.cores, 20e9 + 1.5e9 * budgets.cores)
    return min(budgets.host_bandwidth or guess, budgets.cores * CORE_BANDWIDTH * max(1.0, budgets.core_speed))


def is_guess(solution: Solution, budgets: Budgets) -> bool:
    """Whether the speed of `solution` depends on the bandwidth of the machine's memory, which was not measured."""
    gpus = [budgets.gpus[device] for device in solution.placement.devices]
    return not budgets.host_bandwidth and (layers_on_cpu(solution) > 0 or not all(gpu.bandwidth_bytes for gpu in gpus))


def layers_on_cpu(solution: Solution) -> int:
    """Layers of which the CPU computes all, or the experts."""
    layers, placement = len(solution.estimate.layers), solution.placement
    if not placement.devices:
        return layers
    return max(placement.cpu_experts, layers + 1 - placement.gpu_layers, 0)


@dataclass(frozen=True)
class _Token:
    """One token, and `filled` tokens before it."""

    candidate: Candidate
    solution: Solution
    budgets: Budgets
    filled: int

    def gpu_seconds(self) -> float | None:
        """Seconds on all GPUs together, which work one after the other; None if a bandwidth is unknown."""
        devices = self.solution.placement.devices
        if not devices:
            return 0.0
        layers = len(self.solution.estimate.layers) - layers_on_cpu(self.solution)
        seconds = layers * (EXPERTS_SECONDS if self.candidate.footprint.dims.experts else KERNELS_SECONDS)
        for share, device in zip(self.solution.estimate.devices, devices, strict=True):
            bandwidth = self.budgets.gpus[device].bandwidth_bytes
            if not bandwidth and not self.budgets.shared:
                return None
            reached = GPU_SHARE * bandwidth if bandwidth else MEMORY_SHARE * bandwidth_of(self.budgets)
            seconds += (self._weights(share) + self._cache(share)) / reached
        return seconds

    def cpu_seconds(self) -> float:
        """Seconds on the CPU, without the choice of a token."""
        layers, budgets = layers_on_cpu(self.solution), self.budgets
        if not layers:
            return 0.0
        arithmetic = self.shared_seconds() / (budgets.cores * budgets.core_speed)
        memory = (sum(self._read) + self._cache(self.solution.estimate.host)) / (MEMORY_SHARE * bandwidth_of(budgets))
        fixed = layers * (LAYER_SECONDS + BARRIER_SECONDS * math.log2(budgets.cores))
        fixed = (fixed + (0 if self._shares_states else STATE_SECONDS * self._host_states)) / budgets.core_speed
        return float((arithmetic**TOGETHER + memory**TOGETHER) ** (1 / TOGETHER)) + fixed

    def shared_seconds(self) -> float:
        """Seconds of arithmetic of one reference core, which threads share."""
        solution, cost = self.solution, self.candidate.arithmetic
        read, output = self._read
        nanoseconds = read * cost.layers + output * cost.output
        attention = self._attended * ATTENTION_SECONDS * solution.estimate.host.kv / max(1, solution.estimate.kv_bytes)
        return nanoseconds * 1e-9 + attention + (EXPONENT_SECONDS * self._host_states if self._shares_states else 0)

    def choice_seconds(self) -> float:
        """Seconds to choose a token among all, which one thread of the CPU does."""
        return float(self.candidate.footprint.dims.vocabulary * ENTRY_SECONDS / self.budgets.core_speed)

    @cached_property
    def _read(self) -> tuple[float, float]:
        """Bytes of weights that the CPU reads: of layers, and of the output."""
        weights, is_whole = self.candidate.footprint.weights, not self.solution.placement.devices
        output = (weights.shared_output or weights.output) if is_whole else 0
        # Only a row of the input. `host` may be corrected by what earlier loads took, to less than these.
        others = weights.input + (weights.output if is_whole else 0)
        return max(0.0, self._weights(self.solution.estimate.host) - others), output

    @property
    def _shares_states(self) -> bool:
        return self.candidate.footprint.widths.mixer is Mixer.MAMBA

    @property
    def _host_states(self) -> float:
        """Elements of the recurrent states that the CPU computes."""
        return self._states * layers_on_cpu(self.solution) / max(1, len(self.solution.estimate.layers))

    def _weights(self, share: Share) -> float:
        """Bytes of weights in `share` that the token reads: no idle experts, no layers for speculation."""
        dims, estimate = self.candidate.footprint.dims, self.solution.estimate
        active = min(1.0, dims.experts_used / dims.experts) if dims.experts and dims.experts_used else 1.0
        is_last = share is (estimate.devices or (estimate.host,))[-1]
        unread = sum(
            layer.weights - layer.experts * (1 - active) for layer in estimate.layers[len(dims.layers) :] if is_last
        )
        return max(0.0, share.weights - share.experts * (1 - active) - unread)

    def _cache(self, share: Share) -> float:
        """Bytes of keys, values and states that are read of `share`."""
        whole = max(1, self.solution.estimate.kv_bytes)
        return share.kv / whole * self._cache_bytes + share.state / self.solution.estimate.slots

    @cached_property
    def _cache_bytes(self) -> float:
        dims, estimate = self.candidate.footprint.dims, self.solution.estimate
        cells = cells_of(dims, self.solution.load_shape)
        return sum(
            memory.kv * self._tokens(layer) / ((cells.windowed if layer.windowed else cells.full) * cells.streams)
            for layer, memory in zip(dims.layers, estimate.layers, strict=False)
        )

    @property
    def _attended(self) -> float:
        """Elements of keys and values that the heads of all layers go through."""
        layers = self.candidate.footprint.dims.layers
        return sum(
            self._tokens(layer) * layer.heads * (layer.key + layer.value) / (layer.kv_heads or 1)
            for layer in layers
            if layer.cached
        )

    @property
    def _states(self) -> float:
        """Elements of the recurrent states of all layers."""
        dims = self.candidate.footprint.dims
        return dims.state * sum(layer.recurrent for layer in dims.layers)

    def _tokens(self, layer: LayerDims) -> int:
        return min(self.filled, self.candidate.footprint.dims.window) if layer.windowed else self.filled
