"""How much memory an engine will take, before it is started. Pure: a header and wishes in, bytes out.

Weights, caches and states are exact; compute buffers are within a few percent (see `compute`). What a device keeps
for itself is in no header: leave the margins free.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest

from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.architectures import ROUGH, WITHOUT_FLASH_ATTENTION
from oprel.telemetry.memory.compute import ELEMENT_BYTES, compute_bytes, host_bytes, output_bytes
from oprel.telemetry.memory.dims import Keys, ModelDims, dims_of
from oprel.telemetry.memory.kv_cache import Cells, cells_of, layer_kv_bytes, layer_state_bytes
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.weights import CPU, Weights, devices_of, weights_of
from oprel.telemetry.memory.widths import Widths, widths_of

MIB = 1024**2

# Of the process, its compute buffers and its prompt templates: 72 MiB measured with the smallest models (b11549).
EVERY_ENGINE = 96 * MIB
# What a driver's context, kernels and pools take of a device: 150 to 750 MiB seen; engines leave 1024 free by default.
DEVICE_MARGIN = 1024 * MIB
HOST_MARGIN = 512 * MIB

PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES: masks and inputs, when layers are on several devices
STREAMED_TENSORS = 2  # Weights that lie on the CPU are copied for large batches, the next while one is used.


@dataclass(frozen=True)
class ModelFootprint:
    """A model taken apart, for as many estimates as are wanted."""

    dims: ModelDims
    weights: Weights
    widths: Widths

    def resized(self, weights_bytes: int) -> "ModelFootprint":
        """The same model in another quantization, of which only the size is known: about that."""
        return replace(self, weights=self.weights.resized(weights_bytes))


@dataclass(frozen=True)
class Share:
    """What one device, or the CPU, holds. Bytes; `experts` are a part of the weights."""

    weights: int = 0
    kv: int = 0
    state: int = 0
    experts: int = 0
    compute: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.state + self.compute + self.output


@dataclass(frozen=True)
class LayerMemory:
    """Bytes of one layer, wherever it lies; `experts` are a part of its weights."""

    weights: int
    experts: int
    kv: int
    state: int


@dataclass(frozen=True)
class Estimate:
    """Bytes of a whole engine: `devices` in the order of `LoadShape.split`, `host` is the CPU's memory.

    `context` is the tokens of all slots, as the engine rounds it; `checkpoint` what one saved state of a conversation
    takes, of which engines keep some for models with windows or states. `rough`: too little is known of what such a
    model keeps or how it computes.
    """

    devices: tuple[Share, ...]
    host: Share
    layers: tuple[LayerMemory, ...]
    context: int
    slots: int
    checkpoint: int
    rough: bool

    def with_compute(self, ratio: float) -> "Estimate":
        """Compute buffers as much larger or smaller than estimated as experience says."""

        def corrected(share: Share) -> Share:
            return replace(share, compute=round(share.compute * ratio))

        return replace(self, devices=tuple(map(corrected, self.devices)), host=corrected(self.host))

    @property
    def weights_bytes(self) -> int:
        return self._sum(lambda share: share.weights)

    @property
    def kv_bytes(self) -> int:
        return self._sum(lambda share: share.kv)

    @property
    def state_bytes(self) -> int:
        return self._sum(lambda share: share.state)

    @property
    def compute_bytes(self) -> int:
        return self._sum(lambda share: share.compute)

    @property
    def output_bytes(self) -> int:
        return self._sum(lambda share: share.output)

    @property
    def total_bytes(self) -> int:
        return self._sum(lambda share: share.total)

    def _sum(self, part: Callable[[Share], int]) -> int:
        return sum(part(share) for share in (*self.devices, self.host))


def footprint_of(header: GGUFFile) -> ModelFootprint:
    """A model in shards: give a header with all their tensors."""
    return ModelFootprint(dims_of(header), weights_of(header), widths_of(header))


def estimate(model: GGUFFile | ModelFootprint, wishes: LoadShape) -> Estimate:
    """What an engine of this model takes, run as wished.

    Raises KeyError for a cache type that engines do not have.
    """
    anatomy = footprint_of(model) if isinstance(model, GGUFFile) else model
    dims, weights = anatomy.dims, anatomy.weights
    if dims.architecture in WITHOUT_FLASH_ATTENTION:
        wishes = replace(wishes, flash_attention=False)
    cells = cells_of(dims, wishes)
    layers = _layers(dims, weights, wishes, cells)
    places = devices_of(max(len(weights.layers), dims.blocks), wishes)
    held = [_held(layers, weights, places, wishes, device) for device in (CPU, *range(len(wishes.split)))]
    computing = _computing(anatomy, wishes, cells, places)
    shares = [
        replace(held, compute=compute, output=output_bytes(dims, wishes) if number == 0 else 0)
        for number, (held, compute) in enumerate(zip(held, computing, strict=True))
    ]
    return Estimate(
        devices=tuple(shares[1:]),
        host=shares[0],
        layers=layers,
        context=cells.context,
        slots=max(1, wishes.slots),
        checkpoint=_checkpoint(dims, layers, cells, wishes),
        rough=dims.architecture in ROUGH or (bool(dims.state) and anatomy.widths.mixer is None),
    )


def projector_bytes(header: GGUFFile) -> int:
    """What reading images takes besides: the projector's weights and, at most, its attention among all patches.

    Where the header names no image size only the weights count. Sounds take less.
    """
    keys = Keys(header)
    patches = (keys.integer("vision.image_size") // max(keys.integer("vision.patch_size"), 1)) ** 2
    patch = 5 * keys.integer("vision.embedding_length") + keys.integer("vision.feed_forward_length")
    scores = keys.integer("vision.attention.head_count") * patches
    return sum(tensor.size_bytes for tensor in header.tensors) + ELEMENT_BYTES * patches * (patch + scores)


def _layers(model: ModelDims, weights: Weights, wishes: LoadShape, cells: Cells) -> tuple[LayerMemory, ...]:
    """Layers that only the file, or only the metadata, knows of have the rest at 0."""
    kept = [
        (layer_kv_bytes(model, kind, wishes, cells), layer_state_bytes(model, kind, wishes)) for kind in model.kinds
    ]
    tensors = zip(weights.layers, weights.experts, strict=True)
    caches = (kept[number] for number in model.kind_of)
    return tuple(LayerMemory(*sizes, *cache) for sizes, cache in zip_longest(tensors, caches, fillvalue=(0, 0)))


def _held(
    layers: tuple[LayerMemory, ...], weights: Weights, places: list[int], wishes: LoadShape, device: int
) -> Share:
    """Weights, caches and states that lie on a device."""
    output = places[-1]
    tensors = weights.output + (weights.shared_output if output != CPU else 0) if output == device else 0
    tensors += weights.input if device == CPU else 0
    experts = kv = state = 0
    for number, layer in enumerate(layers):
        # A model's layers may be gone through more than once: what has no place of its own is where the last one is.
        place = places[number] if number < len(places) - 1 else places[-2] if len(places) > 1 else CPU
        place_of_experts = CPU if number < wishes.cpu_experts else place
        experts += layer.experts if place_of_experts == device else 0
        if place == device:
            tensors += layer.weights - layer.experts
            kv, state = kv + layer.kv, state + layer.state
    return Share(tensors + experts, kv, state, experts)


def _computing(anatomy: ModelFootprint, wishes: LoadShape, cells: Cells, places: list[int]) -> list[int]:
    """Compute buffers: of the CPU, then of each device that has a layer or the output, or else of the first."""
    dims = anatomy.dims
    whole = compute_bytes(dims, anatomy.widths, wishes, cells)
    used = {place for place in places if place != CPU} or {0}
    if not wishes.split:
        return [whole]
    on_cpu = CPU in places
    inputs = host_bytes(dims, wishes, cells)
    device = whole + (inputs * (PIPELINE_COPIES - 1) if len(used) > 1 and not on_cpu else 0)
    device += STREAMED_TENSORS * anatomy.weights.largest if on_cpu or wishes.cpu_experts else 0
    return [whole if on_cpu else inputs, *(device if number in used else 0 for number in range(len(wishes.split)))]


def _checkpoint(model: ModelDims, layers: tuple[LayerMemory, ...], cells: Cells, wishes: LoadShape) -> int:
    """Windows and states of one slot (`server_prompt_checkpoint` in tools/server)."""
    slots = max(1, wishes.slots)
    windows = sum(layer.kv for layer, dims in zip(layers, model.layers, strict=False) if dims.windowed)
    return windows // cells.streams + sum(layer.state for layer in layers) // slots
