"""The compute buffer: the tensors that are alive at once in the widest step of a layer, and the attention masks.

The engine lays out its graph for a full batch and keeps that memory (`llama_context::sched_reserve` in
src/llama-context.cpp, `ggml_dyn_tallocr` in ggml/src/ggml-alloc.c). The steps are those of `build_attn`, `build_ffn`,
`build_moe_ffn` in src/llama-graph.cpp, of src/models/mamba-base.cpp, delta-net-base.cpp and deepseek2.cpp.
The number of vectors alive in each step was fitted to what llama.cpp b11549 printed. It is exact for dense models with
flash attention; for the others, fragmentation in the allocator makes it some percent too small or too large.
"""

from collections.abc import Callable, Iterator

from oprel.telemetry.memory.architectures import RECURRENCE, WEIGHTED_FIRST, Recurrence
from oprel.telemetry.memory.dims import LayerDims, ModelDims
from oprel.telemetry.memory.kv_cache import Cells
from oprel.telemetry.memory.load_shape import CACHE_TYPES, LoadShape
from oprel.telemetry.memory.widths import Mixer, Widths

ELEMENT_BYTES = 4
RESIDUALS = 5  # Vectors of the embedding's width that are alive around a feed-forward or an attention.
LEAST_ROTATION = 64  # the smallest side of a rotation matrix


def compute_bytes(model: ModelDims, widths: Widths, shape: LoadShape, cells: Cells) -> int:
    """Bytes of the compute buffer of a device that holds every kind of the model's layers."""
    return (
        ELEMENT_BYTES * max(_steps(model, widths, shape, cells), default=0)
        + mask_bytes(model, shape, cells)
        + _rotation_bytes(model, shape)
    )


def mask_bytes(model: ModelDims, shape: LoadShape, cells: Cells) -> int:
    """Bytes of the masks of which cell each token sees, one for each kind of cache (`build_attn_inp_kq_mask`)."""
    element = 2 if shape.flash_attention else ELEMENT_BYTES
    if not any(layer.cached for layer in model.kinds):
        seen = cells.tokens if _attends(model) else 0
    else:
        kinds = {layer.windowed for layer in model.kinds if layer.cached}
        seen = sum(cells.windowed if windowed else cells.full for windowed in kinds)
    return element * cells.tokens * seen


def host_bytes(model: ModelDims, shape: LoadShape, cells: Cells) -> int:
    """Bytes of the CPU's compute buffer if all layers are on devices: the inputs."""
    return 2 * ELEMENT_BYTES * cells.tokens * model.embedding + mask_bytes(model, shape, cells)


def output_bytes(model: ModelDims, shape: LoadShape) -> int:
    """Bytes of one token's logits for each slot, and of its embedding if embeddings are computed (`output_reserve`)."""
    row = model.vocabulary + (model.embedding if shape.embedding else 0)
    return ELEMENT_BYTES * max(1, shape.slots) * row


def _attends(model: ModelDims) -> bool:
    return any(layer.heads for layer in model.kinds)


def _steps(model: ModelDims, widths: Widths, shape: LoadShape, cells: Cells) -> Iterator[int]:
    """Candidates for the widest step: elements that are alive at once."""
    tokens, around = cells.tokens, RESIDUALS * model.embedding
    yield tokens * (around + (model.embedding if widths.parallel else 0) + widths.dense)
    if model.experts_used and widths.expert:
        yield tokens * (around + _experts(model, widths))
    for layer in model.kinds:
        if layer.heads and layer.kv_heads:
            yield tokens * _attention(model, widths, shape, layer, cells)
    if widths.mixer:
        yield MIXING[widths.mixer](model, tokens, max(1, shape.slots))
    if shape.embedding and model.causal:  # Logits of all tokens, although they are not read.
        yield tokens * (model.vocabulary + around)


def _experts(model: ModelDims, widths: Widths) -> int:
    """Elements for each token. The experts' outputs reuse the memory of tensors no longer needed, if they fit there."""
    inner, given = model.experts_used * widths.expert, model.experts_used * model.embedding
    if inner <= model.embedding:
        return given
    appended = model.embedding > 2 * widths.expert or model.architecture in WEIGHTED_FIRST
    return (3 if widths.gated_experts else 1) * inner + (given if appended else 0)


def _attention(model: ModelDims, widths: Widths, shape: LoadShape, layer: LayerDims, cells: Cells) -> int:
    """Elements for each token: queries, keys, values, and without flash attention the scores of each head and cell."""
    seen = (cells.windowed if layer.windowed else cells.full) if layer.cached else cells.tokens
    scores = 0 if shape.flash_attention else layer.heads * seen
    if model.latent:
        compressed = 2 * (model.kv_rank + model.rope)
        alive = RESIDUALS * model.embedding + layer.heads * (model.latent_key + compressed) + scores
        return alive + (0 if shape.flash_attention else _transposed_values(model, layer, cells))
    query = layer.heads * (layer.key // layer.kv_heads)
    kept = 2 * layer.key if layer.cached else layer.key
    if shape.flash_attention:
        return model.embedding + 2 * query + kept
    around = (RESIDUALS if widths.normed_twice else 3) * model.embedding
    gates = max(widths.query - query, 0) if widths.gated_attention else 0
    return around + 3 * query + gates + kept + scores


def _transposed_values(model: ModelDims, layer: LayerDims, cells: Cells) -> int:
    """Elements for each token: all compressed values transposed in f16, less what fits where the queries were."""
    values = cells.full * cells.streams * model.kv_rank // 2 // cells.tokens
    return max(0, values - layer.heads * (model.kv_rank + model.rope))


def _mamba(model: ModelDims, tokens: int, sequences: int) -> int:
    return tokens * (model.embedding + 7 * model.inner) + sequences * (model.past + model.state)


def _mamba_2(model: ModelDims, tokens: int, sequences: int) -> int:
    """Elements of a Mamba 2 step. The states are gathered first, into free memory if it suffices."""
    projected = model.inner + model.channels + model.steps
    alive = model.embedding + projected + 2 * model.channels + 3 * model.inner
    if RECURRENCE.get(model.architecture) is Recurrence.BESIDE_ATTENTION:
        alive += model.embedding
    kept = model.past + model.state
    fits = sequences * kept <= tokens * (model.embedding + model.inner)
    return tokens * alive + kept * (sequences if fits else 2 * sequences - 1)


def _delta(model: ModelDims, tokens: int, sequences: int) -> int:
    """Elements of a gated delta net step: three copies of the states, unless they share memory with other tensors."""
    states, inner = sequences * model.state, tokens * model.inner
    alive = tokens * (model.embedding + 2 * model.channels) + 2 * inner + sequences * model.past + states
    if 2 * states <= inner:
        return alive
    return alive + 2 * states - max(0, min(states - inner, 3 * inner))


MIXING: dict[Mixer, Callable[[ModelDims, int, int], int]] = {
    Mixer.MAMBA: _mamba,
    Mixer.MAMBA_2: _mamba_2,
    Mixer.DELTA: _delta,
}


def _rotation_bytes(model: ModelDims, shape: LoadShape) -> int:
    """Bytes of the rotations that spread outliers of a quantized cache (`build_input_k_rot`, `build_input_v_rot`)."""
    heads = {
        windowed: {layer.key // layer.kv_heads for layer in model.kinds if layer.windowed is windowed and layer.key}
        for windowed in {layer.windowed for layer in model.kinds if layer.cached}
    }
    total = 0
    for lengths in heads.values():
        length = lengths.pop() if len(lengths) == 1 else 0
        if length % LEAST_ROTATION == 0 and length:
            side = length & -length  # the largest power of two that divides it
            total += side * side if _is_quantized(shape.key_type) else 0
            total += LEAST_ROTATION**2 if _is_quantized(shape.value_type) and not model.latent else 0
    return ELEMENT_BYTES * total


def _is_quantized(cache_type: str) -> bool:
    return CACHE_TYPES[cache_type][1] > 1
