"""BERT encoders of sentence-transformers, as GGUF: which can be converted, and what each tensor and key becomes.

Sources: the names of transformers' BertModel; the keys and tensors that llama.cpp reads for its architecture "bert".
Types are kept (F32, F16, BF16), so that nothing is lost; biases, norms and position tables are F32, as llama.cpp
requires.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oprel.core.exceptions import UnsupportedError
from oprel.formats.ggml_types import GGMLType
from oprel.formats.gguf import Scalar
from oprel.formats.hugging_face.conversion.gguf_writer import TYPES, Conversion, SourceTensor
from oprel.formats.hugging_face.conversion.wordpiece import read_wordpiece
from oprel.formats.hugging_face.hf_config import HFConfig, read_config
from oprel.formats.hugging_face.safetensors import StoredTensor, read_index, read_safetensors
from oprel.formats.hugging_face.sentence_encoder import POOLING_TYPES, SentenceEncoder, read_sentence_encoder
from oprel.formats.templates.prompts import NORMALISED, prompt_metadata

ARCHITECTURE = "bert"
CLASSES = frozenset(("BertModel", "BertForMaskedLM", "BertForPreTraining"))
FILE_TYPES = {GGMLType.F32: 0, GGMLType.F16: 1, GGMLType.BF16: 32}
GELU = frozenset(("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh"))  # alike in the third digit
USUAL_EPSILON = 1e-12
INDEX, FILE = "model.safetensors.index.json", "model.safetensors"

TABLES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
}
LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
ALWAYS_F32 = ("position_embd", "token_types")


def is_bert(folder: Path) -> bool:
    """Whether the folder holds such a model, judged by its configuration alone. Raises InvalidModelError, OSError."""
    if not (folder / "config.json").is_file():
        return False
    config = read_config(folder)
    has_weights = any((folder / name).is_file() for name in (FILE, INDEX))
    return has_weights and config.architecture == ARCHITECTURE and not CLASSES.isdisjoint(config.classes)


def conversion(folder: Path) -> Conversion:
    """Blocks to read a few megabytes. Raises UnsupportedError with the reason if the model asks for more than BERT."""
    config, encoder = read_config(folder), read_sentence_encoder(folder)
    _check(config, encoder)
    stored = dict(_stored(folder))
    rows = _side(stored, "embeddings.word_embeddings.weight")
    positions = min(_side(stored, "embeddings.position_embeddings.weight"), encoder.max_tokens or 2**31)
    tensors = tuple(_tensors(stored, config.layers or 0, positions))
    metadata = {
        **_architecture(folder, config, positions),
        f"{ARCHITECTURE}.pooling_type": POOLING_TYPES[encoder.pooling],
        "general.file_type": FILE_TYPES[tensors[0].type],
        NORMALISED: encoder.normalised,
        **prompt_metadata(encoder.prompts),
        **read_wordpiece(folder).metadata(rows),
    }
    types = _side(stored, "embeddings.token_type_embeddings.weight")
    return Conversion({**metadata, "tokenizer.ggml.token_type_count": types}, tensors)


def converts(folder: Path) -> bool:
    """Whether the folder can be converted. Blocks like `conversion`. Raises InvalidModelError."""
    try:
        return is_bert(folder) and bool(conversion(folder))
    except UnsupportedError:
        return False


def _check(config: HFConfig, encoder: SentenceEncoder) -> None:
    """Raises UnsupportedError."""
    values = config.values
    kind = values.get("position_embedding_type", "absolute")
    obstacles = [
        *encoder.further,
        *([] if str(values.get("hidden_act", "gelu")) in GELU else [f"the activation {values['hidden_act']!r}"]),
        *([] if kind == "absolute" else [f"positions of the kind {kind!r}"]),
        *([] if not values.get("is_decoder") else ["a decoder"]),
        *([] if config.quantization is None else [f"{config.quantization.label} weights"]),
    ]
    if obstacles:
        raise UnsupportedError(f"it has {obstacles[0]}, which oprel cannot convert to GGUF")


def _architecture(folder: Path, config: HFConfig, positions: int) -> dict[str, Scalar]:
    numbers = {
        "embedding_length": config.number("embedding_length"),
        "block_count": config.layers,
        "feed_forward_length": _number(config, "intermediate_size"),
        "attention.head_count": next(iter(config.per_layer("heads")), None),
    }
    missing = [name for name, number in numbers.items() if not number]
    if missing:
        raise UnsupportedError(f"its config.json does not state its {missing[0]}")
    stated = config.values.get("layer_norm_eps")
    epsilon = stated if isinstance(stated, float) and 0 < stated < 1 else USUAL_EPSILON
    return {
        "general.architecture": ARCHITECTURE,
        "general.type": "model",
        "general.name": _name(folder, config),
        **{f"{ARCHITECTURE}.{name}": number for name, number in numbers.items() if number},
        f"{ARCHITECTURE}.context_length": positions,
        f"{ARCHITECTURE}.attention.layer_norm_epsilon": epsilon,
        f"{ARCHITECTURE}.attention.causal": False,
    }


def _number(config: HFConfig, name: str) -> int | None:
    value = config.values.get(name)
    return value if type(value) is int and 0 < value < 2**31 else None


def _name(folder: Path, config: HFConfig) -> str:
    """The model's title: that of its repository in Hugging Face's cache, of its folder, or in its configuration."""
    repository = next((part for part in folder.parts if part.startswith("models--")), "").rpartition("--")[2]
    given = config.values.get("_name_or_path")
    own = given.rpartition("/")[2] if isinstance(given, str) else ""
    return repository or (own if own and folder.name.startswith("split-") else folder.name)


@dataclass(frozen=True)
class _Stored:
    """A tensor in a safetensors file; `start` is where its bytes begin in it."""

    file: Path
    start: int
    tensor: StoredTensor


def _stored(folder: Path) -> Iterator[tuple[str, _Stored]]:
    """The model's tensors by their names, without those of a head."""
    files = read_index(folder / INDEX) if (folder / INDEX).is_file() else (folder / FILE,)
    for file in files:
        header = read_safetensors(file)
        for tensor in header.tensors:
            name = tensor.name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
            yield name, _Stored(file, header.data_offset + tensor.offset, tensor)


def _side(stored: Mapping[str, _Stored], name: str) -> int:
    """The number of rows of a table."""
    if name not in stored or len(stored[name].tensor.shape) != 2:
        raise UnsupportedError(f"it has no tensor {name}")
    return stored[name].tensor.shape[0]


def _tensors(stored: Mapping[str, _Stored], layers: int, positions: int) -> Iterator[SourceTensor]:
    for name, target in _renamed(layers):
        if name not in stored:
            raise UnsupportedError(f"it has no tensor {name}")
        yield _converted(stored[name], target, positions if target == "position_embd.weight" else None)


def _renamed(layers: int) -> Iterator[tuple[str, str]]:
    """Each tensor's name, and its name in GGUF."""
    yield from ((f"{name}.weight", f"{target}.weight") for name, target in TABLES.items())
    pairs = [("embeddings.LayerNorm", "token_embd_norm")]
    pairs += [
        (f"encoder.layer.{number}.{name}", f"blk.{number}.{target}")
        for number in range(layers)
        for name, target in LAYER.items()
    ]
    yield from ((f"{name}.{kind}", f"{target}.{kind}") for name, target in pairs for kind in ("weight", "bias"))


def _converted(source: _Stored, target: str, rows: int | None) -> SourceTensor:
    """The first `rows` of a tensor, or all."""
    tensor = source.tensor
    if tensor.dtype not in TYPES or not 1 <= len(tensor.shape) <= 2 or not tensor.elements:
        raise UnsupportedError(f"its tensor {tensor.name} is of a kind that oprel cannot convert ({tensor.dtype})")
    stored = TYPES[tensor.dtype]
    is_plain = len(tensor.shape) == 1 or target.startswith(ALWAYS_F32)
    first, *rest = tensor.shape
    return SourceTensor(
        name=target,
        shape=(*reversed(rest), rows or first),
        type=GGMLType.F32 if is_plain else stored,
        file=source.file,
        offset=source.start,
        stored=stored,
    )
