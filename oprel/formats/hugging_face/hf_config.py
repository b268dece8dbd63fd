"""`config.json` and related files in a folder in Hugging Face's layout, treated as untrusted input.

Sources: the configuration classes of huggingface/transformers, which use different names for the same property; the
documentation of each quantization method for how it packs weights.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.hugging_face.safetensors import BITS, StoredTensor
from oprel.formats.model_info import MAX_LAYERS, Capability, of_template
from oprel.formats.untrusted_json import Json, invalid, read_object

# Where multimodal models keep the configuration of their language part.
LANGUAGE_PARTS = ("thinker_config", "text_config", "llm_config", "language_config")
# Alternative names of each property, the most common first.
NAMES = {
    "context_length": (
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "seq_length",
        "n_ctx",
        "max_seq_length",
    ),
    "vocabulary_size": ("vocab_size", "padded_vocab_size"),
    "embedding_length": ("hidden_size", "n_embd", "d_model", "dim", "model_dim"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_transformer_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "num_query_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num"),
    "head_dim": ("head_dim", "attention_head_dim", "d_kv"),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "experts_used": ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk"),
}
# Parameters in `generation_config.json` -> their names in GGUF files, below `general.sampling`.
SAMPLING_NAMES = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
LARGEST = 2**31 - 1
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "float8_e4m3fn": "F8_E4M3"}
METHOD_BITS = {"mxfp4": 4, "fp8": 8, "fbgemm_fp8": 8}
# Auxiliary tensors of quantized weights, which are not weights themselves.
SIDE_TENSOR = re.compile(
    r"(?:^|[._])(?:qzeros|scales|biases|g_idx|absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..*|SCB"
    r"|weight_scale(?:_inv|_2)?|weight_shape|weight_zero_point|weight_g_idx|weight_format|input_scale|[kv]_scale)$"
)
PACKED_DTYPES = frozenset(("I8", "U8", "I16", "I32", "U32", "I64"))


@dataclass(frozen=True)
class Quantization:
    """`bits` per weight; None if unknown."""

    label: str
    bits: int | None

    def parameters(self, tensor: StoredTensor) -> int:
        """The number of weights in a tensor; an element may pack several of them."""
        if SIDE_TENSOR.search(tensor.name):
            return 0
        if self.bits and tensor.dtype in PACKED_DTYPES:
            return tensor.elements * BITS[tensor.dtype] // self.bits
        return tensor.elements


@dataclass(frozen=True)
class HFConfig:
    """The content of `config.json`; empty if the file is missing."""

    path: Path
    values: Mapping[str, Json]

    @property
    def language(self) -> Mapping[str, Json]:
        """The configuration of the language part."""
        part = self.values
        for name in LANGUAGE_PARTS:
            inner = part.get(name)
            if isinstance(inner, dict):
                part = inner
        return part

    @property
    def architecture(self) -> str:
        """Such as "qwen2"; for a multimodal model that of the whole model."""
        return _word(self.values.get("model_type")) or next(iter(self.classes), "")

    @property
    def classes(self) -> list[str]:
        """Such as "LlamaForCausalLM"."""
        names = self.values.get("architectures")
        return [word for name in names if (word := _word(name))] if isinstance(names, list) else []

    @property
    def dtype(self) -> str:
        """The type of unquantized weights; "" if unknown."""
        values = (part.get(name) for part in (self.language, self.values) for name in ("dtype", "torch_dtype"))
        return next((DTYPES.get(value.removeprefix("torch."), "") for value in values if isinstance(value, str)), "")

    @property
    def quantization(self) -> Quantization | None:
        """None for unquantized weights."""
        packing = self.values.get("quantization_config", self.language.get("quantization_config"))
        if not isinstance(packing, dict):
            mlx = self.values.get("quantization")
            return _quantization("mlx", mlx) if isinstance(mlx, dict) else None
        return _quantization(_word(packing.get("quant_method")) or "quantized", packing)

    def number(self, meaning: str) -> int | None:
        """The value of a property in NAMES; None if it is missing or implausible."""
        value = self._value(meaning)
        return value if type(value) is int and 0 < value <= LARGEST else None

    @property
    def layers(self) -> int | None:
        """Raises InvalidModelError for more than MAX_LAYERS."""
        count = self.number("layers")
        if count is not None and count > MAX_LAYERS:
            raise invalid(self.path, f"it has {count} layers, but at most {MAX_LAYERS} are allowed", 0)
        return count

    def per_layer(self, meaning: str) -> tuple[int, ...]:
        """One number per layer, whether the file has a single number or a list."""
        value, layers = self._value(meaning), self.layers
        if isinstance(value, list):
            return tuple(entry for entry in value[:MAX_LAYERS] if type(entry) is int and 0 <= entry <= LARGEST)
        number = self.number(meaning)
        return (number,) * (layers or 0) if number else ()

    def _value(self, meaning: str) -> Json:
        values = (part[name] for part in (self.language, self.values) for name in NAMES[meaning] if name in part)
        return next(values, None)


def read_config(folder: Path) -> HFConfig:
    """Raises InvalidModelError for an invalid `config.json`."""
    path = folder / "config.json"
    return HFConfig(path, read_object(path) if path.exists() else {})


def capabilities(folder: Path, config: HFConfig) -> tuple[Capability, ...]:
    """What the classes and the chat template imply. Raises InvalidModelError if a file is damaged."""
    if any((folder / name).exists() for name in ("modules.json", "config_sentence_transformers.json")):
        return ("embedding",)
    classes = " ".join(config.classes)
    if "ForSequenceClassification" in classes:
        return ("rerank",)
    result = list[Capability]()
    if "LMHead" in classes or "ForCausalLM" in classes or "ForConditionalGeneration" in classes:
        result += ["completion", *of_template(chat_template(folder))]
    elif classes:
        return ("embedding",)
    senses: dict[str, Capability] = {"vision_config": "vision", "audio_config": "audio"}
    thinker = config.values.get("thinker_config")
    keys = {*config.values, *(thinker if isinstance(thinker, dict) else ())}
    return (*result, *(sense for name, sense in senses.items() if name in keys))


def chat_template(folder: Path) -> str:
    """Jinja source, untrusted; all templates joined if there are several, "" without any."""
    separate, path = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if separate.is_file():
        with separate.open("rb") as file:
            return file.read(1024**2).decode(errors="replace")
    match read_object(path).get("chat_template") if path.exists() else None:
        case str(template):
            return template
        case list(several):
            texts = (template.get("template") for template in several if isinstance(template, dict))
            return "\n".join(text for text in texts if isinstance(text, str))
        case _:
            return ""


def generation_config(folder: Path) -> Mapping[str, int | float]:
    """The sampling parameters of `generation_config.json`, under their names in GGUF files; none if it is unusable."""
    path = folder / "generation_config.json"
    try:
        values = read_object(path) if path.is_file() else {}
    except InvalidModelError:
        return {}
    if values.get("do_sample") is False:
        return {}
    named = ((SAMPLING_NAMES[name], value) for name, value in values.items() if name in SAMPLING_NAMES)
    return {name: value for name, value in named if isinstance(value, int | float)}


def _quantization(method: str, packing: Mapping[str, Json]) -> Quantization:
    bits = _bits(packing) or METHOD_BITS.get(method)
    label = method.upper()
    return Quantization(label if bits is None or method in METHOD_BITS else f"{label}-{bits}bit", bits)


def _bits(packing: Mapping[str, Json]) -> int | None:
    for switch, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        if packing.get(switch) is True or packing.get(f"_{switch}") is True:
            return bits
    groups = packing.get("config_groups")
    entries = list(groups.values()) if isinstance(groups, dict) else []
    weights = [entry.get("weights") for entry in entries if isinstance(entry, dict)]
    group_bits = [entry.get("num_bits") for entry in weights if isinstance(entry, dict)]
    values = [packing.get("bits"), packing.get("w_bit"), *group_bits]
    return next((value for value in values if type(value) is int and 1 <= value <= 16), None)


def _word(value: Json) -> str:
    """A name from the file if it is safe to display, else ""."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,100}", value, re.ASCII) else ""
