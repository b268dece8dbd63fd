"""How fast a model generates tokens: memory bandwidth over the bytes read for each token. Pure.

Decoding is bound by memory bandwidth, not by arithmetic: each token reads all weights except those of unused experts.
The estimate is for a short context; a long one adds its KV cache to what is read.
"""

from collections.abc import Sequence

from oprel.telemetry.memory.estimator import Estimate, ModelFootprint, Share
from oprel.telemetry.recommender.budgets import Budgets

# Share of a GPU's peak bandwidth that kernels reach: 60 to 80 % is usual with quantized weights.
GPU_SHARE = 0.65
# For small models the fixed cost of a token (kernel launches, sampling) outweighs memory reads.
FASTEST = 1000.0


def tokens_per_second(
    footprint: ModelFootprint, estimate: Estimate, devices: Sequence[int], budgets: Budgets
) -> float | None:
    """Tokens per second of a single request, at most `FASTEST`; None if a bandwidth involved is unknown.

    `devices` are the indices in `budgets.gpus` of the devices in `estimate`, in the same order.
    """
    host = _read_bytes(footprint, estimate.host) - footprint.weights.input
    seconds = 0.0
    if host > 0:
        if not budgets.host_bandwidth:
            return None
        seconds += host / budgets.host_bandwidth
    for share, device in zip(estimate.devices, devices, strict=True):
        bandwidth = budgets.gpus[device].bandwidth_bytes
        shared = budgets.host_bandwidth if budgets.shared else None
        if not bandwidth and not shared:
            return None
        seconds += _read_bytes(footprint, share) / (GPU_SHARE * bandwidth if bandwidth else shared or 1)
    return min(FASTEST, 1 / seconds) if seconds else None


def _read_bytes(footprint: ModelFootprint, share: Share) -> float:
    """Bytes of weights read for one token."""
    dims = footprint.dims
    active = min(1.0, dims.experts_used / dims.experts) if dims.experts and dims.experts_used else 1.0
    return share.weights - share.experts * (1 - active)
