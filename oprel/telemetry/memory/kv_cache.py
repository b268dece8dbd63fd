"""What an engine keeps of conversations: keys and values for each token, or a recurrent state for each conversation.

Exact. Sources, in llama.cpp b11549: the constructor of `llama_context` (src/llama-context.cpp) for the numbers of
cells, `llama_kv_cache` (src/llama-kv-cache.cpp), `llama_kv_cache_iswa` (-iswa.cpp), `llama_memory_recurrent`
(src/llama-memory-recurrent.cpp).
"""

from dataclasses import dataclass

from oprel.telemetry.memory.dims import LayerDims, ModelDims
from oprel.telemetry.memory.load_shape import CACHE_TYPES, LoadShape, row_bytes

CELLS_STEP = 256
STATE_ELEMENT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Numbers of tokens: `full` and `windowed` in the caches of one stream, `context` in all streams together.

    `tokens` is the number computed at once: at most the context, and equally many of each slot.
    """

    context: int
    full: int
    windowed: int
    streams: int
    tokens: int


def cells_of(model: ModelDims, shape: LoadShape) -> Cells:
    """The cache sizes that the engine derives from the requested context and slots."""
    requested = shape.context or model.trained_context
    batch = min(requested, shape.batch) if model.causal else shape.batch
    ubatch = min(batch, shape.ubatch)
    context, slots = _padded(requested), max(1, shape.slots)
    full = context if shape.unified else _padded(context // slots)
    context = context if shape.unified else full * slots
    window = model.window * (slots if shape.unified else 1) + ubatch
    return Cells(
        context=context,
        full=full,
        windowed=full if shape.swa_full else _padded(min(full, window)),
        streams=1 if shape.unified else slots,
        tokens=-(-min(ubatch, context) // slots) * slots or slots,
    )


def _padded(cells: int) -> int:
    return -(-cells // CELLS_STEP) * CELLS_STEP


def layer_kv_bytes(model: ModelDims, layer: LayerDims, shape: LoadShape, cells: Cells) -> int:
    """Bytes of keys and values of one layer, including its indexer."""
    if not layer.cached:
        return 0
    # Without flash attention values are stored transposed, padded to the widest layer.
    value = layer.value if shape.flash_attention else model.widest_value
    key, (index_key, index_value) = layer.key, layer.index
    token = sum(row_bytes(shape.key_type, elements) for elements in (key, index_key))
    token += sum(row_bytes(shape.value_type, elements) for elements in (0 if model.latent else value, index_value))
    return token * (cells.windowed if layer.windowed else cells.full) * cells.streams


def layer_state_bytes(model: ModelDims, layer: LayerDims, shape: LoadShape) -> int:
    """Bytes of the recurrent states of one layer: one for each slot, whatever the context."""
    rows = max(1, shape.slots) * (1 + shape.rollback)
    return (model.past + model.state) * STATE_ELEMENT_BYTES * rows if layer.recurrent else 0


def slot_tokens(shape: LoadShape, cells: Cells) -> int:
    """The tokens of a conversation that fills its slot."""
    return cells.full // max(1, shape.slots) if shape.unified else cells.full


def saved_bytes(model: ModelDims, layer: LayerDims, shape: LoadShape, cells: Cells, tokens: int) -> int:
    """Bytes that a copy of a conversation of `tokens` takes of one layer.

    Of a window only the tokens that the next one sees are copied (`llama_kv_cache::state_write`).
    """
    if layer.recurrent:
        return (model.past + model.state) * STATE_ELEMENT_BYTES
    if layer.windowed and not shape.swa_full:
        tokens = min(tokens, model.window)
    everywhere = max(1, (cells.windowed if layer.windowed else cells.full) * cells.streams)
    return layer_kv_bytes(model, layer, shape, cells) // everywhere * tokens


def refusal(model: ModelDims, shape: LoadShape) -> str | None:
    """Why engines refuse to start with this cache; None if they start.

    Source: `llama_init_from_model` in src/llama-context.cpp.
    """
    key_block, value_block = CACHE_TYPES[shape.key_type][1], CACHE_TYPES[shape.value_type][1]
    if model.latent and shape.key_type != shape.value_type:
        return f"keys and values of {model.architecture} must have the same type"
    if value_block > 1 and not shape.flash_attention:
        return f"values in {shape.value_type} need flash attention"
    for layer in model.kinds if shape.flash_attention else ():
        heads = layer.kv_heads or 1
        if layer.key // heads % key_block or layer.value // heads % value_block:
            return f"heads of {layer.key // heads} elements do not divide into blocks of 32"
    return None
