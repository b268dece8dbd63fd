"""What an engine remembers of its conversations: keys and values for each token, or a state for each conversation.

Exact. Sources, in llama.cpp b11549: the constructor of `llama_context` (src/llama-context.cpp) for the numbers of
cells, `llama_kv_cache` (src/llama-kv-cache.cpp), `llama_kv_cache_iswa` (-iswa.cpp), `llama_memory_recurrent`
(src/llama-memory-recurrent.cpp).
"""

from dataclasses import dataclass

from oprel.telemetry.memory.dims import LayerDims, ModelDims
from oprel.telemetry.memory.load_shape import CACHE_TYPES, LoadShape, row_bytes

CELLS_STEP = 256
STATE_ELEMENT_BYTES = 4


@dataclass(frozen=True)
class Cells:
    """Tokens that fit into the caches of one stream; `context` is that of all streams together.

    `tokens` is how many are computed at once: no more than the context has, as many of each slot.
    """

    context: int
    full: int
    windowed: int
    streams: int
    tokens: int


def cells_of(model: ModelDims, wishes: LoadShape) -> Cells:
    """The sizes that the engine makes of what is asked for."""
    asked = wishes.context or model.trained_context
    batch = min(asked, wishes.batch) if model.causal else wishes.batch
    ubatch = min(batch, wishes.ubatch)
    context, slots = _padded(asked), max(1, wishes.slots)
    full = context if wishes.unified else _padded(context // slots)
    context = context if wishes.unified else full * slots
    window = model.window * (slots if wishes.unified else 1) + ubatch
    return Cells(
        context=context,
        full=full,
        windowed=full if wishes.swa_full else _padded(min(full, window)),
        streams=1 if wishes.unified else slots,
        tokens=-(-min(ubatch, context) // slots) * slots or slots,
    )


def _padded(cells: int) -> int:
    return -(-cells // CELLS_STEP) * CELLS_STEP


def layer_kv_bytes(model: ModelDims, layer: LayerDims, wishes: LoadShape, cells: Cells) -> int:
    """Keys and values of one layer, with its indexer's."""
    if not layer.cached:
        return 0
    # Without flash attention values lie in columns, all as long as the longest.
    value = layer.value if wishes.flash_attention else model.widest_value
    key, (index_key, index_value) = layer.key, layer.index
    token = sum(row_bytes(wishes.key_type, elements) for elements in (key, index_key))
    token += sum(row_bytes(wishes.value_type, elements) for elements in (0 if model.latent else value, index_value))
    return token * (cells.windowed if layer.windowed else cells.full) * cells.streams


def layer_state_bytes(model: ModelDims, layer: LayerDims, wishes: LoadShape) -> int:
    """The recurrent states of one layer, one for each slot, whatever the context."""
    rows = max(1, wishes.slots) * (1 + wishes.rollback)
    return (model.past + model.state) * STATE_ELEMENT_BYTES * rows if layer.recurrent else 0


def refusal(model: ModelDims, wishes: LoadShape) -> str | None:
    """Why engines do not start with such a cache (`llama_init_from_model` in src/llama-context.cpp); else None."""
    key_block, value_block = CACHE_TYPES[wishes.key_type][1], CACHE_TYPES[wishes.value_type][1]
    if model.latent and wishes.key_type != wishes.value_type:
        return f"keys and values of {model.architecture} need one type"
    if value_block > 1 and not wishes.flash_attention:
        return f"values in {wishes.value_type} need flash attention"
    for layer in model.kinds if wishes.flash_attention else ():
        heads = layer.kv_heads or 1
        if layer.key // heads % key_block or layer.value // heads % value_block:
            return f"heads of {layer.key // heads} elements do not divide into blocks of 32"
    return None
