"""The dimensions of a model that decide how much memory it needs, read from its header as llama.cpp reads them.

Source: `llama_model_base::load_hparams` in src/llama-model.cpp and src/llama-hparams.cpp of llama.cpp b11549.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from oprel.formats.gguf import GGUFFile
from oprel.telemetry.memory.architectures import (
    INDEXED,
    INDEXED_BY_KEYS,
    RECURRENCE,
    WINDOWS,
    WITHOUT_CACHE,
    Recurrence,
)

MOST_LAYERS = 512  # LLAMA_MAX_LAYERS


@dataclass(frozen=True, kw_only=True)
class LayerDims:
    """One layer. `key` and `value` are elements cached for each token, `index` those of its indexer (keys, values)."""

    heads: int
    kv_heads: int
    key: int
    value: int
    feed_forward: int
    windowed: bool = False
    cached: bool = True
    recurrent: bool = False
    index: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class ModelDims:
    """A model. Lengths count elements, `window` and `trained_context` tokens; 0 if the model has no such thing.

    A recurrent layer keeps for each sequence a `state` and the `past` of its convolution, in f32 elements. `inner`,
    `channels` and `steps` are the widths of its inner layer, its convolution and its time step. `blocks` counts all
    layers in the file, including those for multi-token prediction. A token uses `experts_used` of a layer's `experts`.
    """

    architecture: str
    layers: tuple[LayerDims, ...]
    embedding: int
    vocabulary: int
    trained_context: int
    causal: bool
    window: int
    latent: bool
    latent_key: int
    kv_rank: int
    rope: int
    experts_used: int
    past: int
    state: int
    inner: int
    channels: int
    steps: int
    blocks: int
    experts: int

    @cached_property
    def kinds(self) -> tuple[LayerDims, ...]:
        """The distinct layers of the model, in the order of their first occurrence."""
        return tuple(dict.fromkeys(self.layers))

    @cached_property
    def kind_of(self) -> tuple[int, ...]:
        """The index in `kinds` of each layer."""
        numbers = {kind: number for number, kind in enumerate(self.kinds)}
        return tuple(numbers[layer] for layer in self.layers)

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """How many layers of each of `kinds` there are."""
        counts = Counter(self.kind_of)
        return tuple(counts[number] for number in range(len(self.kinds)))

    @property
    def widest_value(self) -> int:
        """The largest `value` of any layer, in elements."""
        return max((layer.value for layer in self.kinds), default=0)


class Keys:
    """The metadata of a header under the prefix of its architecture."""

    def __init__(self, header: GGUFFile) -> None:
        self._metadata, self._prefix = header.metadata, header.architecture

    def integer(self, key: str, default: int = 0) -> int:
        """The number; `default` if it is absent, an array, or negative."""
        value = self._metadata.get(f"{self._prefix}.{key}")
        return int(value) if isinstance(value, int) and value >= 0 else default

    def array(self, key: str) -> tuple[int, ...]:
        """The integers of an array; empty if it is absent or a single value."""
        value = self._metadata.get(f"{self._prefix}.{key}")
        return tuple(item for item in value if isinstance(item, int)) if isinstance(value, tuple) else ()

    def for_layers(self, key: str, count: int, default: int = 0) -> list[int]:
        """A number for each layer, from a single value for all or from an array, which is padded with 0."""
        if values := self.array(key):
            return [*values[:count], *[0] * (count - len(values))]
        return [self.integer(key, default)] * count


def dims_of(header: GGUFFile) -> ModelDims:
    """The dimensions of a model. Missing metadata count as in llama.cpp, mostly as 0."""
    keys, architecture = Keys(header), header.architecture
    total = min(keys.integer("block_count"), MOST_LAYERS)
    first_heads = next(iter(keys.for_layers("attention.head_count", 1)))
    usual = keys.integer("embedding_length") // first_heads if first_heads else 0
    window, windowed = _windows(keys, architecture, _trunk(keys, architecture, total))
    recurrent = _recurrent(keys, architecture, total)
    past, state = _state(keys, architecture, first_heads)
    return ModelDims(
        architecture=architecture,
        layers=_layers(keys, architecture, total, usual, windowed, recurrent),
        embedding=keys.integer("embedding_length"),
        vocabulary=header.vocabulary_size or 0,
        trained_context=keys.integer("context_length"),
        causal=bool(keys.integer("attention.causal", 1)),
        window=window,
        latent=_is_latent(keys),
        latent_key=keys.integer("attention.key_length_mla"),
        kv_rank=keys.integer("attention.kv_lora_rank"),
        rope=keys.integer("rope.dimension_count"),
        experts_used=max(keys.for_layers("expert_used_count", max(total, 1))),
        past=past,
        state=state,
        inner=keys.integer("ssm.inner_size") or keys.integer("kda.head_dim") * first_heads,
        channels=_channels(keys),
        steps=keys.integer("ssm.time_step_rank"),
        blocks=total,
        experts=keys.integer("expert_count"),
    )


def _trunk(keys: Keys, architecture: str, total: int) -> int:
    """The number of layers without those for multi-token prediction (MTP)."""
    if architecture == "graniteswitch":  # Its router is in the last layers.
        return total
    return max(total - keys.integer("nextn_predict_layers"), 0) or total


def _is_latent(keys: Keys) -> bool:
    """Whether it has multi-head latent attention: values are computed from keys and not cached (`is_mla`)."""
    return bool(keys.integer("attention.key_length_mla") and keys.integer("attention.value_length_mla"))


def _layers(
    keys: Keys, architecture: str, total: int, usual: int, windowed: list[bool], recurrent: list[bool]
) -> tuple[LayerDims, ...]:
    trunk = _trunk(keys, architecture, total)
    heads = keys.for_layers("attention.head_count", total)
    kv_heads = keys.for_layers("attention.head_count_kv", total) if _has(keys, "attention.head_count_kv") else heads
    feed_forward = keys.for_layers("feed_forward_length", total)
    cached = _cached(keys, architecture, total, recurrent, feed_forward)
    indexes = _indexes(keys, architecture, total, usual, cached)
    attends = heads[:1] != [0]  # As in llama.cpp: without heads in the first layer, lengths are ignored.
    lengths = {
        kind: tuple(_length(keys, name, kind, usual) if attends else 0 for name in ("key", "value"))
        for kind in (False, True)
    }
    loops = max(1, keys.integer("num_loops", 1)) if architecture == "nanbeige" else 1  # runs its layers repeatedly
    layers = tuple(
        LayerDims(
            heads=heads[number],
            kv_heads=kv_heads[number],
            key=lengths[windowed[number]][0] * kv_heads[number],
            value=lengths[windowed[number]][1] * kv_heads[number],
            feed_forward=feed_forward[number],
            windowed=windowed[number],
            cached=cached[number],
            recurrent=recurrent[number],
            index=indexes[number],
        )
        for number in range(trunk)
    )
    return layers * min(loops, MOST_LAYERS // max(len(layers), 1))


def _has(keys: Keys, key: str) -> bool:
    return bool(keys.array(key)) or keys.integer(key, -1) >= 0


def _length(keys: Keys, name: str, windowed: bool, usual: int) -> int:
    everywhere = keys.integer(f"attention.{name}_length", usual)
    return keys.integer(f"attention.{name}_length_swa", everywhere) if windowed else everywhere


def _windows(keys: Keys, architecture: str, trunk: int) -> tuple[int, list[bool]]:
    """The window in tokens, and which layers have it (`load_swa_pattern`, `set_swa_pattern`)."""
    total = min(keys.integer("block_count"), MOST_LAYERS)
    rule = WINDOWS.get(architecture)
    window = keys.integer("attention.sliding_window", rule.default) if rule else 0
    if not rule or not window or (rule.only_layers and trunk != rule.only_layers):
        return 0, [False] * total
    key = "attention.sliding_window_pattern"
    if stored := keys.array(key):
        windowed = [bool(flag) for flag in stored[:total]]
    else:
        period = keys.integer(key, rule.period)
        full = 0 if rule.dense_first else period - 1
        windowed = [not period or number % period != full for number in range(trunk)]
    return rule.fixed or window, [*windowed, *[False] * (total - len(windowed))]


def _recurrent(keys: Keys, architecture: str, total: int) -> list[bool]:
    kv_heads = keys.for_layers("attention.head_count_kv", total, default=1)
    match RECURRENCE.get(architecture, Recurrence.NONE):
        case Recurrence.NONE:
            return [False] * total
        case Recurrence.ALL | Recurrence.BESIDE_ATTENTION:
            return [True] * total
        case Recurrence.WITHOUT_HEADS:
            return [not heads for heads in kv_heads]
        case Recurrence.WITHOUT_HEADS_OR_FEED_FORWARD:
            widths = keys.for_layers("feed_forward_length", total)
            return [not heads and not width for heads, width in zip(kv_heads, widths, strict=True)]
        case Recurrence.INTERVAL:
            if named := keys.array("attention.recurrent_layers"):
                return [bool(flag) for flag in [*named, *[0] * total][:total]]
            interval = max(keys.integer("full_attention_interval", 4), 1)
            return [(number + 1) % interval != 0 for number in range(total)]


def _cached(keys: Keys, architecture: str, total: int, recurrent: list[bool], feed_forward: list[int]) -> list[bool]:
    """Which layers cache keys and values of their own."""
    if architecture in WITHOUT_CACHE:
        return [False] * total
    match RECURRENCE.get(architecture, Recurrence.NONE):
        case Recurrence.BESIDE_ATTENTION:
            return [True] * total
        case Recurrence.WITHOUT_HEADS_OR_FEED_FORWARD:
            return [not state and not width for state, width in zip(recurrent, feed_forward, strict=True)]
    own = {"gemma3n": 20, "gemma4": total - keys.integer("attention.shared_kv_layers")}.get(architecture, total)
    return [number < own and not recurrent[number] for number in range(total)]


def _indexes(keys: Keys, architecture: str, total: int, usual: int, cached: list[bool]) -> list[tuple[int, int]]:
    """Key and value elements of each layer's indexer.

    Source: src/llama-kv-cache-dsa.cpp, src/llama-kv-cache-msa.cpp, src/llama-memory-hybrid-idx.cpp.
    """
    length = keys.integer("attention.indexer.key_length")
    if architecture not in INDEXED | INDEXED_BY_KEYS or not length:
        return [(0, 0)] * total
    value = 0 if _is_latent(keys) or architecture in INDEXED_BY_KEYS else keys.integer("attention.value_length", usual)
    key = length * (3 if keys.integer("attention.indexer.kpool") else 1)
    owns = _index_owners(keys, architecture, total)
    return [(key, value) if own and kept else (0, 0) for own, kept in zip(owns, cached, strict=True)]


def _index_owners(keys: Keys, architecture: str, total: int) -> list[bool]:
    if stored := keys.array("attention.indexer.types"):
        return [bool(flag) for flag in [*stored, *[0] * total][:total]]
    match architecture:
        case "minimax-m3":
            return [number >= keys.integer("leading_dense_block_count") for number in range(total)]
        case "glm-dsa" if keys.integer("context_length") >= 1024**2:  # GLM 5.2, whose files may lack the list
            return [number < 2 or (number - 2) % 4 == 0 for number in range(total)]
        case "hy_v4":
            return [False] * total
        case _:
            return [True] * total


def _channels(keys: Keys) -> int:
    return keys.integer("ssm.inner_size") + 2 * keys.integer("ssm.group_count") * keys.integer("ssm.state_size")


def _state(keys: Keys, architecture: str, heads: int) -> tuple[int, int]:
    """Elements of the convolution's past and of the state (`n_embd_r`, `n_embd_s`)."""
    embedding, kernel = keys.integer("embedding_length"), keys.integer("ssm.conv_kernel")
    if rwkv := keys.integer("wkv.head_size"):
        return keys.integer("token_shift_count", 2) * embedding, embedding * rwkv
    if past := keys.integer("shortconv.l_cache"):
        return embedding * (past - 1), 0
    if delta := keys.integer("kda.head_dim"):
        return 3 * (kernel - 1 if kernel else 3) * heads * delta, delta * delta * heads
    if architecture == "minimax-01":
        length = keys.integer("attention.key_length", embedding // heads if heads else 0)
        return 0, length * length * heads
    return max(kernel - 1, 0) * _channels(keys), keys.integer("ssm.state_size") * keys.integer("ssm.inner_size")
