"""How fast an answer will come: what is read for each token, over what memory moves in a second. Pure.

Decoding waits for memory, not for arithmetic: each token goes through all weights but those of experts that are not
asked. With a short context; a long one adds its cache.
"""

from collections.abc import Sequence

from oprel.telemetry.memory.estimator import Estimate, ModelFootprint, Share
from oprel.telemetry.recommender.budgets import Budgets

# Of what a GPU's memory moves at most, what kernels reach: 60 to 80 % are usual with quantized weights.
GPU_SHARE = 0.65
# With smaller models what each token costs besides, to launch kernels and to choose it, counts for more than memory.
FASTEST = 1000.0


def tokens_per_second(
    anatomy: ModelFootprint, found: Estimate, devices: Sequence[int], budgets: Budgets
) -> float | None:
    """Of one request alone, `FASTEST` at most; None where a bandwidth is not known. `devices` are the estimate's."""
    host = _read_bytes(anatomy, found.host) - anatomy.weights.input
    seconds = 0.0
    if host > 0:
        if not budgets.host_bandwidth:
            return None
        seconds += host / budgets.host_bandwidth
    for share, device in zip(found.devices, devices, strict=True):
        bandwidth = budgets.gpus[device].bandwidth_bytes
        shared = budgets.host_bandwidth if budgets.shared else None
        if not bandwidth and not shared:
            return None
        seconds += _read_bytes(anatomy, share) / (GPU_SHARE * bandwidth if bandwidth else shared or 1)
    return min(FASTEST, 1 / seconds) if seconds else None


def _read_bytes(anatomy: ModelFootprint, share: Share) -> float:
    """For one token."""
    dims = anatomy.dims
    asked = min(1.0, dims.experts_used / dims.experts) if dims.experts and dims.experts_used else 1.0
    return share.weights - share.experts * (1 - asked)
