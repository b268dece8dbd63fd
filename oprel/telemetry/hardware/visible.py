"""Which of the machine's GPUs an engine will see: variables such as CUDA_VISIBLE_DEVICES hide some. Pure."""

from collections.abc import Mapping, Sequence

from oprel.telemetry.hardware.devices import GPU, Vendor

VARIABLES: dict[Vendor, tuple[str, ...]] = {
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
}


def visible(gpus: Sequence[GPU], environment: Mapping[str, str]) -> list[GPU]:
    """The visible GPUs, in the order in which the engine will number them."""
    seen = list[GPU]()
    for vendor in dict.fromkeys(gpu.vendor for gpu in gpus):
        own = [gpu for gpu in gpus if gpu.vendor == vendor]
        set_ones = [environment[name] for name in VARIABLES.get(vendor, ()) if name in environment]
        seen += _chosen(own, set_ones[0]) if set_ones else own
    return seen


def _chosen(gpus: Sequence[GPU], wanted: str) -> list[GPU]:
    """The GPUs of a comma-separated list, up to the first word that matches none."""
    chosen = list[GPU]()
    for word in (part.strip() for part in wanted.split(",")):
        matches = [gpu for gpu in gpus if _is_called(gpu, word)]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def _is_called(gpu: GPU, word: str) -> bool:
    """Whether `word` is the GPU's number or the beginning of its UUID."""
    return word == str(gpu.index) or (word.startswith("GPU-") and gpu.id.startswith(word))
