"""How much memory an engine will use, before it is started. Pure: from a header and a load shape to bytes.

Weights, caches and states are exact; compute buffers are within a few percent (see `compute`), and so is the process
(see `process`). What a driver keeps on a device is in no header: callers must leave `DEVICE_MARGIN` free.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest

from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.architectures import ROUGH, WITHOUT_FLASH_ATTENTION
from oprel.telemetry.memory.compute import ELEMENT_BYTES, compute_bytes, host_bytes, output_bytes
from oprel.telemetry.memory.corrections import NONE, Corrections
from oprel.telemetry.memory.dims import Keys, LayerDims, ModelDims, dims_of
from oprel.telemetry.memory.kv_cache import Cells, cells_of, layer_kv_bytes, layer_state_bytes, saved_bytes, slot_tokens
from oprel.telemetry.memory.load_shape import LoadShape
from oprel.telemetry.memory.process import WHEEL, ProcessMemory, Program, process_memory
from oprel.telemetry.memory.tokenizer import Tokenizer, tokenizer_of
from oprel.telemetry.memory.weights import CPU, Weights, devices_of, maps, repacked_of, weights_of
from oprel.telemetry.memory.widths import Widths, widths_of

MIB = 1024**2

# A driver's context, kernels and pools on a device: measured 150 to 750 MiB; engines leave 1024 free by default.
DEVICE_MARGIN = 1024 * MIB

UNCERTAINTY = 0.06  # of the process and the compute buffer; the rest is exact

CHECKPOINTED_AT = 4  # tokens before the end of a prompt, and a batch earlier
PIPELINE_COPIES = 4  # GGML_SCHED_MAX_COPIES: copies of masks and inputs if layers are on several devices
STREAMED_TENSORS = 2  # Weights on the CPU are copied to a device for large batches, one tensor ahead.


@dataclass(frozen=True)
class ModelFootprint:
    """What the header of a model says about memory, parsed once for any number of estimates."""

    dims: ModelDims
    weights: Weights
    widths: Widths
    tokenizer: Tokenizer

    def resized(self, weights_bytes: int, quantization: str = "") -> "ModelFootprint":
        """The same model in another quantization of which only the size is known: an approximation."""
        return replace(self, weights=self.weights.resized(weights_bytes, quantization))


@dataclass(frozen=True, kw_only=True)
class Share:
    """Bytes on one device or in the host's memory; `experts` are included in `weights`.

    `repacked`: copies of weights in the order that the CPU's kernels read them.
    """

    weights: int = 0
    repacked: int = 0
    kv: int = 0
    state: int = 0
    experts: int = 0
    compute: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """All bytes of this share."""
        return self.weights + self.repacked + self.kv + self.state + self.compute + self.output


@dataclass(frozen=True)
class LayerMemory:
    """Bytes of one layer, wherever it is placed; `experts` are included in `weights`."""

    weights: int
    experts: int
    kv: int
    state: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Bytes of a whole engine: `devices` in the order of `LoadShape.split`, and the `host` memory.

    `context` is the tokens of all slots, rounded as the engine rounds it. `conversation` is what the engine saves of a
    conversation that fills its slot, and `checkpoints` the copies that one turn makes of what cannot be rolled back:
    windows and recurrent states, largest first; 0 if there are none. `maps`: the weights' file is mapped. `rough`: the
    architecture's caches or computations are not fully known.
    """

    devices: tuple[Share, ...]
    host: Share
    layers: tuple[LayerMemory, ...]
    context: int
    slots: int
    process: ProcessMemory
    maps: bool
    conversation: int
    checkpoints: tuple[int, ...]
    rough: bool

    def corrected(self, by: Corrections) -> "Estimate":
        """The estimate with each part multiplied by what earlier loads measured."""
        if by == NONE:
            return self

        def share(of: Share) -> Share:
            return replace(
                of,
                weights=round(of.weights * by.weights),
                repacked=round(of.repacked * by.weights),
                kv=round(of.kv * by.kv),
                state=round(of.state * by.state),
                compute=round(of.compute * by.compute),
                output=round(of.output * by.output),
            )

        return replace(
            self,
            devices=tuple(map(share, self.devices)),
            host=share(self.host),
            process=self.process.corrected(by.process),
        )

    @property
    def host_total(self) -> int:
        """Bytes of the machine's memory, the process included."""
        return self.host.total + self.process.total

    @property
    def checkpoint(self) -> int:
        """Bytes of the largest checkpoint."""
        return self.checkpoints[0] if self.checkpoints else 0

    @property
    def uncertainty(self) -> int:
        """Bytes of the machine's memory by which the estimate may be too small."""
        return round(UNCERTAINTY * (self.process.total + self.host.compute))

    @property
    def weights_bytes(self) -> int:
        return self._sum(lambda share: share.weights)

    @property
    def repacked_bytes(self) -> int:
        return self._sum(lambda share: share.repacked)

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
        """All bytes of buffers on the devices and the host, without the process."""
        return self._sum(lambda share: share.total)

    def _sum(self, part: Callable[[Share], int]) -> int:
        return sum(part(share) for share in (*self.devices, self.host))


def footprint_of(header: GGUFFile) -> ModelFootprint:
    """The footprint of a model. For a sharded model, `header` must list the tensors of all shards."""
    return ModelFootprint(dims_of(header), weights_of(header), widths_of(header), tokenizer_of(header))


def estimate(model: GGUFFile | ModelFootprint, shape: LoadShape, program: Program = WHEEL) -> Estimate:
    """The memory of an engine, `program`, that runs `model` with `shape`.

    Raises KeyError for a cache type that engines do not have.
    """
    footprint = footprint_of(model) if isinstance(model, GGUFFile) else model
    dims, weights = footprint.dims, footprint.weights
    if dims.architecture in WITHOUT_FLASH_ATTENTION:
        shape = replace(shape, flash_attention=False)
    cells = cells_of(dims, shape)
    layers = _layers(dims, weights, shape, cells)
    places = devices_of(max(len(weights.layers), dims.blocks), shape)
    held = [_held(layers, weights, places, shape, device) for device in (CPU, *range(len(shape.split)))]
    computing = _computing(footprint, shape, cells, places)
    shares = [
        replace(held, compute=compute, output=output_bytes(dims, shape) if number == 0 else 0)
        for number, (held, compute) in enumerate(zip(held, computing, strict=True))
    ]
    is_mapped = maps(weights, shape, program.repacks)
    if is_mapped:
        shares[0] = replace(shares[0], repacked=_repacked(weights, places, program.repacks))

    def saved(tokens: int, counts: Callable[[LayerDims], bool]) -> int:
        kinds = [(kind, number) for kind, number in zip(dims.kinds, dims.numbers, strict=True) if counts(kind)]
        return sum(number * saved_bytes(dims, kind, shape, cells, tokens) for kind, number in kinds)

    return Estimate(
        devices=tuple(shares[1:]),
        host=shares[0],
        layers=layers,
        context=cells.context,
        slots=max(1, shape.slots),
        process=process_memory(program, footprint.tokenizer, dims, footprint.widths, shape, cells),
        maps=is_mapped,
        conversation=saved(slot_tokens(shape, cells), lambda kind: True),
        checkpoints=tuple(
            saved(tokens, lambda kind: kind.windowed or kind.recurrent) for tokens in _checkpointed(shape, cells)
        ),
        rough=dims.architecture in ROUGH or (bool(dims.state) and footprint.widths.mixer is None),
    )


def projector_bytes(header: GGUFFile) -> int:
    """Bytes that image input needs: the projector's weights and the most that its attention over all patches can take.

    Without an image size in the header, only the weights count. Audio input needs less.
    """
    keys = Keys(header)
    patches = (keys.integer("vision.image_size") // max(keys.integer("vision.patch_size"), 1)) ** 2
    patch = 5 * keys.integer("vision.embedding_length") + keys.integer("vision.feed_forward_length")
    scores = keys.integer("vision.attention.head_count") * patches
    return sum(tensor.size_bytes for tensor in header.tensors) + ELEMENT_BYTES * patches * (patch + scores)


def _layers(model: ModelDims, weights: Weights, shape: LoadShape, cells: Cells) -> tuple[LayerMemory, ...]:
    """The memory of each layer. Layers that only the tensors or only the metadata mention have the rest at 0."""
    kept = [(layer_kv_bytes(model, kind, shape, cells), layer_state_bytes(model, kind, shape)) for kind in model.kinds]
    tensors = zip(weights.layers, weights.experts, strict=True)
    caches = (kept[number] for number in model.kind_of)
    return tuple(LayerMemory(*sizes, *cache) for sizes, cache in zip_longest(tensors, caches, fillvalue=(0, 0)))


def _held(layers: tuple[LayerMemory, ...], weights: Weights, places: list[int], shape: LoadShape, device: int) -> Share:
    """The weights, caches and states on one device."""
    output = places[-1]
    tensors = weights.output + (weights.shared_output if output != CPU else 0) if output == device else 0
    tensors += weights.input if device == CPU else 0
    experts = kv = state = 0
    for number, layer in enumerate(layers):
        # Layers may run more than once: a repetition is placed with the last layer in the file.
        place = places[number] if number < len(places) - 1 else places[-2] if len(places) > 1 else CPU
        place_of_experts = CPU if number < shape.cpu_experts else place
        experts += layer.experts if place_of_experts == device else 0
        if place == device:
            tensors += layer.weights - layer.experts
            kv, state = kv + layer.kv, state + layer.state
    return Share(weights=tensors + experts, kv=kv, state=state, experts=experts)


def _repacked(weights: Weights, places: list[int], types: frozenset[str]) -> int:
    """Copies of the weights on the CPU, in the order that its kernels read them."""
    on_cpu = [matrices for matrices, place in zip(weights.matrices, places, strict=False) if place == CPU]
    output = [weights.output_matrices] if places[-1] == CPU else []
    return sum(repacked_of(matrices, types) for matrices in (*on_cpu, *output))


def _computing(footprint: ModelFootprint, shape: LoadShape, cells: Cells, places: list[int]) -> list[int]:
    """Compute buffers: of the CPU, then of each device that holds a layer or the output, or else of the first."""
    dims = footprint.dims
    whole = compute_bytes(dims, footprint.widths, shape, cells)
    used = {place for place in places if place != CPU} or {0}
    if not shape.split:
        return [whole]
    on_cpu = CPU in places
    inputs = host_bytes(dims, shape, cells)
    device = whole + (inputs * (PIPELINE_COPIES - 1) if len(used) > 1 and not on_cpu else 0)
    device += STREAMED_TENSORS * footprint.weights.largest if on_cpu or shape.cpu_experts else 0
    return [whole if on_cpu else inputs, *(device if number in used else 0 for number in range(len(shape.split)))]


def _checkpointed(shape: LoadShape, cells: Cells) -> Iterator[int]:
    """How many tokens each checkpoint of a turn covers (`checkpoint_offsets` in tools/server/server-context.cpp)."""
    tokens = slot_tokens(shape, cells)
    for before_end in CHECKPOINTED_AT, CHECKPOINTED_AT + shape.ubatch:
        if before_end < tokens:
            yield tokens - before_end
