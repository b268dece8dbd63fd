"""`config.json` and its neighbours in a folder as Hugging Face has them: what they tell of a model, whoever wrote them.

Sources: the configuration classes of huggingface/transformers, whose names for the same thing differ; how methods of
quantization pack weights, in the documentation of each.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.formats.model_info import MAX_LAYERS, Capability, of_template
from oprel.formats.safetensors import BITS, StoredTensor
from oprel.formats.untrusted_json import Json, invalid, read_object

# Where models that also see or hear keep what describes their language part.
LANGUAGE_PARTS = ("thinker_config", "text_config", "llm_config", "language_config")
# Names of the same thing, the usual one first.
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
LARGEST = 2**31 - 1
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "float8_e4m3fn": "F8_E4M3"}
METHOD_BITS = {"mxfp4": 4, "fp8": 8, "fbgemm_fp8": 8}
# Tensors beside quantized weights that are no weights.
SIDE_TENSOR = re.compile(
    r"(?:^|[._])(?:qzeros|scales|biases|g_idx|absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..*|SCB"
    r"|weight_scale(?:_inv|_2)?|weight_shape|weight_zero_point|weight_g_idx|weight_format|input_scale|[kv]_scale)$"
)
PACKED_DTYPES = frozenset(("I8", "U8", "I16", "I32", "U32", "I64"))


@dataclass(frozen=True)
class Quantization:
    """`bits` are those of a weight, None where they are not told."""

    label: str
    bits: int | None

    def parameters(self, tensor: StoredTensor) -> int:
        """How many weights a tensor has, several of which may be packed into one element."""
        if SIDE_TENSOR.search(tensor.name):
            return 0
        if self.bits and tensor.dtype in PACKED_DTYPES:
            return tensor.elements * BITS[tensor.dtype] // self.bits
        return tensor.elements


@dataclass(frozen=True)
class HFConfig:
    """What is in `config.json`; nothing where there is none."""

    path: Path
    values: Mapping[str, Json]

    @property
    def language(self) -> Mapping[str, Json]:
        """What describes the part that reads and writes text."""
        part = self.values
        for name in LANGUAGE_PARTS:
            inner = part.get(name)
            if isinstance(inner, dict):
                part = inner
        return part

    @property
    def architecture(self) -> str:
        """Such as "qwen2": of the whole model, where that sees as well."""
        return _word(self.values.get("model_type")) or next(iter(self.classes), "")

    @property
    def classes(self) -> list[str]:
        """Such as "LlamaForCausalLM"."""
        found = self.values.get("architectures")
        return [word for one in found if (word := _word(one))] if isinstance(found, list) else []

    @property
    def dtype(self) -> str:
        """Of weights that are not quantized; "" where it is not told."""
        told = (part.get(name) for part in (self.language, self.values) for name in ("dtype", "torch_dtype"))
        return next((DTYPES.get(one.removeprefix("torch."), "") for one in told if isinstance(one, str)), "")

    @property
    def quantization(self) -> Quantization | None:
        """None of weights as they were trained."""
        told = self.values.get("quantization_config", self.language.get("quantization_config"))
        if not isinstance(told, dict):
            mlx = self.values.get("quantization")
            return _quantization("mlx", mlx) if isinstance(mlx, dict) else None
        return _quantization(_word(told.get("quant_method")) or "quantized", told)

    def number(self, meaning: str) -> int | None:
        """One of NAMES; None where there is none, or one that cannot be."""
        found = self._value(meaning)
        return found if type(found) is int and 0 < found <= LARGEST else None

    @property
    def layers(self) -> int | None:
        """Raises InvalidModelError where there are more than can be."""
        count = self.number("layers")
        if count is not None and count > MAX_LAYERS:
            raise invalid(self.path, f"it has {count} layers, where {MAX_LAYERS} are allowed", 0)
        return count

    def per_layer(self, meaning: str) -> tuple[int, ...]:
        """A number for each layer, whether there is one for all of them or a list."""
        found, layers = self._value(meaning), self.layers
        if isinstance(found, list):
            return tuple(one for one in found[:MAX_LAYERS] if type(one) is int and 0 <= one <= LARGEST)
        number = self.number(meaning)
        return (number,) * (layers or 0) if number else ()

    def _value(self, meaning: str) -> Json:
        found = (part[name] for part in (self.language, self.values) for name in NAMES[meaning] if name in part)
        return next(found, None)


def read_config(folder: Path) -> HFConfig:
    """Raises InvalidModelError where there is a `config.json` that is none."""
    path = folder / "config.json"
    return HFConfig(path, read_object(path) if path.exists() else {})


def capabilities(folder: Path, config: HFConfig) -> tuple[Capability, ...]:
    """As far as its classes and its chat template tell. Raises InvalidModelError where a file is damaged."""
    if any((folder / name).exists() for name in ("modules.json", "config_sentence_transformers.json")):
        return ("embedding",)
    told = " ".join(config.classes)
    if "ForSequenceClassification" in told:
        return ("rerank",)
    found = list[Capability]()
    if "LMHead" in told or "ForCausalLM" in told or "ForConditionalGeneration" in told:
        found += ["completion", *of_template(chat_template(folder))]
    elif told:
        return ("embedding",)
    senses: dict[str, Capability] = {"vision_config": "vision", "audio_config": "audio"}
    thinker = config.values.get("thinker_config")
    told_of = {*config.values, *(thinker if isinstance(thinker, dict) else ())}
    return (*found, *(sense for name, sense in senses.items() if name in told_of))


def chat_template(folder: Path) -> str:
    """Jinja source, untrusted; "" where there is none. Of several all."""
    separate, path = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if separate.is_file():
        with separate.open("rb") as file:
            return file.read(1024**2).decode(errors="replace")
    match read_object(path).get("chat_template") if path.exists() else None:
        case str(template):
            return template
        case list(several):
            texts = (one.get("template") for one in several if isinstance(one, dict))
            return "\n".join(text for text in texts if isinstance(text, str))
        case _:
            return ""


def _quantization(method: str, told: Mapping[str, Json]) -> Quantization:
    bits = _bits(told) or METHOD_BITS.get(method)
    label = method.upper()
    return Quantization(label if bits is None or method in METHOD_BITS else f"{label}-{bits}bit", bits)


def _bits(told: Mapping[str, Json]) -> int | None:
    for switch, bits in (("load_in_4bit", 4), ("load_in_8bit", 8)):
        if told.get(switch) is True or told.get(f"_{switch}") is True:
            return bits
    groups = told.get("config_groups")
    weights = (
        [one.get("weights") for one in groups.values() if isinstance(one, dict)] if isinstance(groups, dict) else ()
    )
    values = [told.get("bits"), told.get("w_bit"), *(one.get("num_bits") for one in weights if isinstance(one, dict))]
    return next((value for value in values if type(value) is int and 1 <= value <= 16), None)


def _word(value: Json) -> str:
    """A name out of the file, if it is one that can be shown."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,100}", value, re.ASCII) else ""
