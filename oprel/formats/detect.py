"""Detects the model at a path: its format and properties. Reads headers only and never unpickles anything."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.checks.mistaken import START_BYTES, mistaken
from oprel.formats.gguf import MAGIC, read_gguf
from oprel.formats.hugging_face.conversion.bert import converts
from oprel.formats.hugging_face.hf_config import HFConfig, capabilities, read_config
from oprel.formats.hugging_face.safetensors import (
    BITS,
    LENGTH_BYTES,
    MAX_HEADER_BYTES,
    StoredTensor,
    read_index,
    read_safetensors,
)
from oprel.formats.model_info import Evidence, Format, ModelInfo, from_gguf
from oprel.formats.readers import read_with_plugins
from oprel.formats.untrusted_json import check_file, invalid, read_object, shown, unreadable

MAX_PARTS = 1024
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "gguf": (".gguf",),
    "safetensors": (".safetensors",),
    "pytorch": (".bin", ".pth", ".pt"),
    "mlc": (),  # recognized by its configuration
}
"""File name suffixes of each format, in order of preference."""
MLC_CONFIG = "mlc-chat-config.json"
USUAL_STEMS = ("model", "pytorch_model")
ZIP_START = b"PK\x03\x04"
PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
# Files of the same format beside a model that are not models themselves.
BESIDE = re.compile(r"mmproj|imatrix|^adapter_model|^training_args|^optimizer|^scheduler|^rng_state")


def sniff(path: Path) -> Format | None:
    """The format that a file's first bytes indicate. A pickle may hold anything, so its name must match too.

    Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES + 1)
    if start.startswith(MAGIC):
        return "gguf"
    if is_pytorch_start(start) and path.suffix in SUFFIXES["pytorch"]:
        return "pytorch"
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    return "safetensors" if start[LENGTH_BYTES:] == b"{" and 2 <= length <= MAX_HEADER_BYTES else None


def is_pytorch_start(start: bytes) -> bool:
    return start.startswith((ZIP_START, *PICKLE_STARTS))


def detect(path: Path) -> ModelInfo:
    """The model in a file or folder.

    Covers all parts of a split model, and the `config.json` beside safetensors. Blocks to read a few megabytes. Raises
    InvalidModelError, which names the reason and, where it applies, the byte; also for no model or more than one.
    """
    try:
        info = (_folder(path) if path.is_dir() else _file(path)) or read_with_plugins(path)
        if info is None:
            raise _unknown(path)
    except OSError as error:
        raise unreadable(path, error) from error
    return info


def _unknown(path: Path) -> InvalidModelError:
    """Raises OSError."""
    if path.is_dir():
        advice = "Give a folder with a .gguf file, or with safetensors and their config.json."
        return InvalidModelError(f"{path} contains no model", advice)
    with path.open("rb") as file:
        mistake = mistaken(file.read(START_BYTES))
    if mistake:
        return invalid(path, f"it {mistake.what}", 0, mistake.step)
    return invalid(path, "its format is unknown", 0, "Give a .gguf or .safetensors file.")


def _folder(folder: Path) -> ModelInfo | None:
    """None if no file has a supported format."""
    if (folder / MLC_CONFIG).is_file():
        return _mlc(folder)
    files = sorted(file for file in folder.iterdir() if file.is_file() and not BESIDE.search(file.name))
    for index, read in (("model.safetensors.index.json", _tensors), ("pytorch_model.bin.index.json", _pytorch)):
        if (folder / index).is_file():
            return read(folder, read_index(folder / index))
    for suffix in (suffix for suffixes in SUFFIXES.values() for suffix in suffixes):
        if first := _single_model([file for file in files if file.suffix == suffix]):
            return _file(first)
    renamed = _single_model([file for file in files if sniff(file)])
    return _file(renamed) if renamed else None


def _single_model(files: Sequence[Path]) -> Path | None:
    """The first file of the only model among `files`, preferring one named `model`; None without files."""
    firsts = [file for file in files if (part := SHARD.fullmatch(file.name)) is None or int(part[2]) == 1]
    usual = [file for file in firsts if file.stem in USUAL_STEMS] or firsts
    if len(usual) > 1:
        some = ", ".join([*(shown(file.name) for file in usual[:3]), *_and_more(len(usual) - 3)])
        raise InvalidModelError(f"{usual[0].parent} contains {len(usual)} models: {some}", "Give the path of one.")
    return next(iter(usual or files), None)


def _and_more(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _file(path: Path) -> ModelInfo | None:
    """None for a file of an unsupported format."""
    check_file(path)
    named = next((format for format, suffixes in SUFFIXES.items() if path.suffix in suffixes), None)
    match sniff(path) or named:
        case "gguf":
            return _gguf(parts(path))
        case "safetensors":
            return _tensors(path.parent, parts(path))
        case "pytorch" if sniff(path):
            return _pytorch(path.parent, parts(path))
    return None


def parts(path: Path) -> tuple[Path, ...]:
    """All files of the model that `path` belongs to, in order. Raises InvalidModelError if one is missing."""
    match = SHARD.fullmatch(path.name)
    if match is None:
        return (path,)
    name, own, count, suffix = match[1], int(match[2]), int(match[3]), match[4]
    if not 0 < own <= count <= MAX_PARTS:
        advice = "Give the file its original name."
        raise InvalidModelError(f"{path} is named part {own} of {count}, which is impossible", advice)
    parts = tuple(path.with_name(f"{name}-{number:05}-of-{count:05}{suffix}") for number in range(1, count + 1))
    if missing := [part.name for part in parts if not part.is_file()]:
        advice = "Put all parts of the model into one folder under their original names."
        raise InvalidModelError(f"{path.parent} lacks {len(missing)} of {count} parts: {shown(missing[0])}", advice)
    return parts


def _gguf(files: Sequence[Path]) -> ModelInfo:
    info = from_gguf(*map(read_gguf, files))
    unnamed = () if info.architecture else (Evidence("its header does not name an architecture", 0.5),)
    return replace(
        info, evidence=(Evidence("it starts with GGUF, and its header is complete"), *_name("gguf", files), *unnamed)
    )


def _name(format: Format, files: Sequence[Path]) -> Iterator[Evidence]:
    if files and SUFFIXES[format] and files[0].suffix not in SUFFIXES[format]:
        yield Evidence(f"its name ends in {shown(files[0].suffix)}, not {SUFFIXES[format][0]}", 0.1)


def _tensors(folder: Path, files: Sequence[Path]) -> ModelInfo:
    if len(files) > MAX_PARTS:
        raise InvalidModelError(f"{folder} has a model in {len(files)} parts, but at most {MAX_PARTS} are allowed")
    seen = dict[str, StoredTensor]()
    for file in files:
        for tensor in read_safetensors(file).tensors:
            if tensor.name in seen:
                raise invalid(file, f"the tensor {shown(tensor.name)} is in another part too", 0)
            seen[tensor.name] = tensor
    config = read_config(folder)
    packing = config.quantization
    sizes = Counter[str]()
    for tensor in seen.values():
        sizes[tensor.dtype] += tensor.size_bytes
    label = packing.label if packing else max(sizes, key=sizes.__getitem__, default="unknown")
    parameters = sum(packing.parameters(tensor) if packing else tensor.elements for tensor in seen.values())
    why = Evidence(f"it has valid safetensors headers with {len(seen)} tensors")
    return _described("safetensors", folder, files, config, label, parameters or None, why)


def _pytorch(folder: Path, files: Sequence[Path]) -> ModelInfo:
    """Loading such a file runs code from it, so the file size and the configuration must suffice."""
    config = read_config(folder)
    bits, packing = BITS.get(config.dtype), config.quantization
    about = 8 * sum(file.stat().st_size for file in files) // bits if bits and not packing else None
    label = packing.label if packing else config.dtype or "unknown"
    why = Evidence("it starts like a PyTorch file, which was not loaded", 0.1)
    return _described("pytorch", folder, files, config, label, about, why)


def _mlc(folder: Path) -> ModelInfo:
    """Weights compiled by MLC: 32-bit words, whatever is packed in them."""
    config = HFConfig(folder / MLC_CONFIG, read_object(folder / MLC_CONFIG))
    inner, packing = config.values.get("model_config"), config.values.get("quantization")
    both = {**(inner if isinstance(inner, dict) else {}), **config.values}
    files = sorted(folder.glob("params_shard_*.bin"))
    if not files:
        raise InvalidModelError(f"{folder} has no params_shard_*.bin", "Get the whole folder that MLC compiled.")
    label = packing if isinstance(packing, str) and len(packing) < 20 else "unknown"
    why = Evidence(f"it contains MLC's {MLC_CONFIG}")
    info = _described("mlc", folder, files, HFConfig(config.path, both), label, None, why)
    return replace(info, capabilities=("completion",))


def _described(
    format: Format,
    folder: Path,
    files: Sequence[Path],
    config: HFConfig,
    quantization: str,
    parameters: int | None,
    why: Evidence,
) -> ModelInfo:
    heads, width = config.per_layer("heads"), config.number("embedding_length")
    described = Evidence("a config.json describes it") if config.values else Evidence("it has no config.json", 0.4)
    return ModelInfo(
        format=format,
        architecture=config.architecture,
        quantization=quantization,
        size_bytes=sum(file.stat().st_size for file in files),
        parameters=parameters,
        context_length=config.number("context_length"),
        vocabulary_size=config.number("vocabulary_size"),
        embedding_length=width,
        layers=config.layers,
        heads=heads,
        kv_heads=config.per_layer("kv_heads") or heads,
        head_dim=config.number("head_dim") or (width // heads[0] if width and heads and heads[0] else None),
        experts=config.number("experts"),
        experts_used=config.number("experts_used"),
        capabilities=capabilities(folder, config),
        converts=format == "safetensors" and converts(folder),
        evidence=(why, *_name(format, files), described),
    )
