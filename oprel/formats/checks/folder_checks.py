"""Checks a folder in Hugging Face's layout: its configuration, its tokenizer, its index."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks.findings import Finding, error, note, refusal, warning
from oprel.formats.hugging_face.hf_config import HFConfig, read_config
from oprel.formats.hugging_face.safetensors import SafetensorsFile, StoredTensor
from oprel.formats.model_info import ModelInfo
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
WHOLE = frozenset(("F64", "F32", "F16", "BF16"))  # dtypes of unpacked weights
COPY = "Copy it from the original repository."


def check_folder(folder: Path, info: ModelInfo | None) -> Iterator[Finding]:
    """Check the files that engines need beside the weights."""
    if not (folder / "config.json").exists():
        yield error("no-config", folder, "it has no config.json, which engines need to interpret the weights", COPY)
    else:
        yield from _check_config(folder)
    yield from _check_tokenizer(folder)
    if info and "completion" in info.capabilities and not _has_template(folder):
        yield note(
            "no-chat-template",
            folder,
            "it has no chat template: it can complete text, but needs a template of yours to chat",
        )


def _check_config(folder: Path) -> Iterator[Finding]:
    path = folder / "config.json"
    try:
        config = read_config(folder)
        yield from _check_numbers(path, config)
    except InvalidModelError as problem:
        yield refusal(path, problem)
        return
    if not config.classes:
        yield warning(
            "no-architecture", path, "it does not name its architectures: engines cannot tell which model it is", COPY
        )
    if "auto_map" in config.values:
        what = "it requires its own code (auto_map), which oprel does not let engines run"
        yield warning("needs-own-code", path, what, "Use a model that the engine supports without it.")
    packing = config.values.get("quantization_config")
    if packing is not None and not (isinstance(packing, dict) and packing.get("quant_method")):
        yield warning("no-quantization-method", path, "its quantization_config does not name a method", COPY)


def _check_numbers(path: Path, config: HFConfig) -> Iterator[Finding]:
    heads, kv_heads = (next(iter(config.per_layer(name)), 0) for name in ("heads", "kv_heads"))
    width, head_dim = config.number("embedding_length"), config.number("head_dim")
    if width and heads and not head_dim and width % heads:
        yield error("wrong-heads", path, f"its hidden size of {width} is not divisible by its {heads} heads", COPY)
    if heads and kv_heads and heads % kv_heads:
        yield error("wrong-heads", path, f"its {heads} heads are not divisible by its {kv_heads} KV heads", COPY)
    if config.classes and not config.number("context_length"):
        yield note("no-context-length", path, "it does not state its context length")


def _check_tokenizer(folder: Path) -> Iterator[Finding]:
    tokenizers = [name for name in TOKENIZERS if (folder / name).is_file()]
    if not tokenizers and not any(next(folder.glob(pattern), None) for pattern in OTHER_TOKENIZERS):
        yield error(
            "no-tokenizer", folder, "it has no tokenizer", "Copy tokenizer.json or tokenizer.model from the original."
        )
    if tokenizers == ["vocab.json"] and not (folder / "merges.txt").is_file():
        yield error("no-merges", folder / "vocab.json", "its merges.txt is missing", COPY)
    for name in tokenizers:
        path = folder / name
        if path.stat().st_size == 0:
            yield error("bad-tokenizer", path, "the tokenizer is empty", COPY)
        elif path.suffix == ".json" and not _is_closed(path):
            yield error("bad-tokenizer", path, "it is not a complete JSON object", COPY)
    for name in ("tokenizer_config.json", "generation_config.json"):
        yield from _check_object(folder / name)


def _check_object(path: Path) -> Iterator[Finding]:
    if path.exists():
        try:
            read_object(path)
        except InvalidModelError as problem:
            yield refusal(path, problem)


def _is_closed(path: Path) -> bool:
    """Whether a JSON file begins and ends with braces. It may have 30 MB, so it is not parsed."""
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
    """Check the parts against the index and the configuration."""
    tensors = {tensor.name: (file.path.name, tensor) for file in files for tensor in file.tensors}
    yield from (
        error("no-tensors", file.path, "it has no tensors", "Was the file written completely?")
        for file in files
        if not file.tensors
    )
    if (folder / INDEX).is_file():
        names = [file.path.name for file in files]
        yield from _check_index(folder / INDEX, names, {name: part for name, (part, _) in tensors.items()})
    elif len(files) > 1:
        what = f"{INDEX} is missing: engines cannot tell which of {len(files)} parts holds which tensor"
        yield warning("no-index", folder, what, COPY)
    if info:
        yield from _check_against(folder / "config.json", info, [tensor for _, tensor in tensors.values()])


def _check_index(path: Path, files: Sequence[str], parts: Mapping[str, str]) -> Iterator[Finding]:
    """`parts` maps each existing tensor to its file."""
    try:
        listed = read_object(path).get("weight_map")
    except InvalidModelError as problem:
        yield refusal(path, problem)
        return
    if not isinstance(listed, dict) or any(part not in files for part in listed.values()):
        return  # detecting the model reports it
    if absent := [name for name, part in listed.items() if parts.get(name) != part]:
        what = f"{len(absent)} of its {len(listed)} tensors are in another file or missing, such as {shown(absent[0])}"
        yield error(
            "wrong-index", path, what, "The parts and the index belong to different models: download all of them again."
        )
    if unknown := [name for name in parts if name not in listed]:
        what = f"it does not list {len(unknown)} tensors of the parts, such as {shown(unknown[0])}"
        yield warning("extra-files", path, what, "Remove files of other models from the folder.")


def _check_against(path: Path, info: ModelInfo, tensors: Sequence[StoredTensor]) -> Iterator[Finding]:
    """Check the tensors against the configuration."""
    numbers = {int(match[1]) for tensor in tensors if (match := LAYER.search(tensor.name))}
    if info.layers and numbers and (missing := set(range(info.layers)) - numbers):
        what = f"tensors of {len(missing)} of its {info.layers} layers are missing, the first is layer {min(missing)}"
        yield error("wrong-tensors", path, what, "A part is missing, or the configuration belongs to another model.")
    for tensor in tensors:
        if EMBEDDING.search(tensor.name) and tensor.dtype in WHOLE and tensor.shape and info.vocabulary_size:
            if tensor.shape[0] < info.vocabulary_size:
                what = f"it has a vocabulary of {info.vocabulary_size}, but {tensor.shape[0]} embeddings"
                yield error("wrong-tensors", path, what, "The configuration belongs to another model.")
            return
