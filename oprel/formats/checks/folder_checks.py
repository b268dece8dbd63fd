"""What is the matter with a folder as Hugging Face has them: its configuration, its tokenizer, its index."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks.findings import Finding, error, note, refusal, warning
from oprel.formats.hf_config import HFConfig, read_config
from oprel.formats.model_info import ModelInfo
from oprel.formats.safetensors import SafetensorsFile, StoredTensor
from oprel.formats.untrusted_json import read_object, shown

INDEX = "model.safetensors.index.json"
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
OTHER_TOKENIZERS = ("*.tiktoken", "tokenization_*.py", "tokenizer.model.*", "*.spm")
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")
EMBEDDING = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings)\.weight$")
WHOLE = frozenset(("F64", "F32", "F16", "BF16"))  # dtypes of weights that are not packed
COPY = "Copy it from where the model comes from."


def check_folder(folder: Path, info: ModelInfo | None) -> Iterator[Finding]:
    """What engines need beside the weights."""
    if not (folder / "config.json").exists():
        yield error(folder, "there is no config.json: no engine knows what its weights are", COPY)
    else:
        yield from _check_config(folder)
    yield from _check_tokenizer(folder)
    if info and "completion" in info.capabilities and not _has_template(folder):
        yield note(folder, "there is no chat template: it can complete texts, and chat only with one of your own")


def _check_config(folder: Path) -> Iterator[Finding]:
    path = folder / "config.json"
    try:
        config = read_config(folder)
        yield from _check_numbers(path, config)
    except InvalidModelError as problem:
        yield refusal(path, problem)
        return
    if not config.classes:
        yield warning(path, "it names no architectures: engines cannot tell which model it is", COPY)
    if "auto_map" in config.values:
        what = "it wants to run code of its own (auto_map), which oprel's engines are not allowed to"
        yield warning(path, what, "Use a model that the engine itself knows.")
    packing = config.values.get("quantization_config")
    if packing is not None and not (isinstance(packing, dict) and packing.get("quant_method")):
        yield warning(path, "its quantization_config does not say which method it is", COPY)


def _check_numbers(path: Path, config: HFConfig) -> Iterator[Finding]:
    heads, kv_heads = (next(iter(config.per_layer(name)), 0) for name in ("heads", "kv_heads"))
    width, head_dim = config.number("embedding_length"), config.number("head_dim")
    if width and heads and not head_dim and width % heads:
        yield error(path, f"its hidden size of {width} cannot be shared by {heads} heads", COPY)
    if heads and kv_heads and heads % kv_heads:
        yield error(path, f"its {heads} heads cannot share {kv_heads} KV heads", COPY)
    if config.classes and not config.number("context_length"):
        yield note(path, "it does not tell how long a context may be")


def _check_tokenizer(folder: Path) -> Iterator[Finding]:
    found = [name for name in TOKENIZERS if (folder / name).is_file()]
    if not found and not any(next(folder.glob(pattern), None) for pattern in OTHER_TOKENIZERS):
        yield error(folder, "there is no tokenizer", "Copy tokenizer.json, or tokenizer.model, from the original.")
    if found == ["vocab.json"] and not (folder / "merges.txt").is_file():
        yield error(folder / "vocab.json", "its merges.txt is missing", COPY)
    for name in found:
        path = folder / name
        if path.stat().st_size == 0:
            yield error(path, "the tokenizer is empty", COPY)
        elif path.suffix == ".json" and not _is_closed(path):
            yield error(path, "it is no whole JSON object", COPY)
    for name in ("tokenizer_config.json", "generation_config.json"):
        yield from _check_object(folder / name)


def _check_object(path: Path) -> Iterator[Finding]:
    if path.exists():
        try:
            read_object(path)
        except InvalidModelError as problem:
            yield refusal(path, problem)


def _is_closed(path: Path) -> bool:
    """Whether a JSON file begins and ends with braces. It may be 30 MB: more would be to parse it."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
        file.seek(max(0, path.stat().st_size - 64))
        return start.startswith(b"{") and file.read().rstrip().endswith(b"}")


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        return bool(read_object(folder / "tokenizer_config.json").get("chat_template"))
    except InvalidModelError:
        return False


def check_tensors(folder: Path, files: Sequence[SafetensorsFile], info: ModelInfo | None) -> Iterator[Finding]:
    """Whether the parts are those that the index and the configuration tell of."""
    tensors = {tensor.name: (file.path.name, tensor) for file in files for tensor in file.tensors}
    yield from (
        error(file.path, "it has no tensors", "Is it a part that was not written to its end?")
        for file in files
        if not file.tensors
    )
    if (folder / INDEX).is_file():
        names = [file.path.name for file in files]
        yield from _check_index(folder / INDEX, names, {name: part for name, (part, _) in tensors.items()})
    elif len(files) > 1:
        what = f"{INDEX} is missing: engines do not know which of {len(files)} parts has which tensor"
        yield warning(folder, what, COPY)
    if info:
        yield from _check_against(folder / "config.json", info, [tensor for _, tensor in tensors.values()])


def _check_index(path: Path, files: Sequence[str], parts: Mapping[str, str]) -> Iterator[Finding]:
    """`parts` has the file of each tensor that is there."""
    try:
        told = read_object(path).get("weight_map")
    except InvalidModelError as problem:
        yield refusal(path, problem)
        return
    if not isinstance(told, dict) or any(part not in files for part in told.values()):
        return  # who reads the model says so
    if absent := [name for name, part in told.items() if parts.get(name) != part]:
        what = f"{len(absent)} of its {len(told)} tensors are not where it says, {shown(absent[0])} first"
        yield error(path, what, "The parts and the index are of different models: get them together.")
    if unknown := [name for name in parts if name not in told]:
        what = f"{len(unknown)} tensors of the parts are not in it, {shown(unknown[0])} first"
        yield warning(path, what, "Is a part of another model left in the folder?")


def _check_against(path: Path, info: ModelInfo, tensors: Sequence[StoredTensor]) -> Iterator[Finding]:
    """The tensors against what the configuration says."""
    numbers = {int(found[1]) for tensor in tensors if (found := LAYER.search(tensor.name))}
    if info.layers and numbers and (missing := set(range(info.layers)) - numbers):
        what = f"the tensors of {len(missing)} of its {info.layers} layers are missing, of layer {min(missing)} first"
        yield error(path, what, "A part is missing, or the configuration is another model's.")
    for tensor in tensors:
        if EMBEDDING.search(tensor.name) and tensor.dtype in WHOLE and tensor.shape and info.vocabulary_size:
            if tensor.shape[0] < info.vocabulary_size:
                what = f"it has a vocabulary of {info.vocabulary_size}, but {tensor.shape[0]} embeddings"
                yield error(path, what, "The configuration is another model's.")
            return
