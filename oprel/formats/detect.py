"""What is at a path: a model of which format, with what in it. Only headers are read, and nothing is ever unpickled."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.gguf import MAGIC, read_gguf
from oprel.formats.hf_config import HFConfig, capabilities, read_config
from oprel.formats.mistaken import START_BYTES, mistaken
from oprel.formats.model_info import Evidence, Format, ModelInfo, from_gguf
from oprel.formats.readers import read_announced
from oprel.formats.safetensors import BITS, LENGTH_BYTES, MAX_HEADER_BYTES, StoredTensor, read_index, read_safetensors
from oprel.formats.untrusted_json import check_file, invalid, read_object, shown, unreadable

MAX_PARTS = 1024
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "gguf": (".gguf",),
    "safetensors": (".safetensors",),
    "pytorch": (".bin", ".pth", ".pt"),
    "mlc": (),  # known by its configuration
}
"""How files of each format are named, the formats in order of preference."""
MLC_CONFIG = "mlc-chat-config.json"
USUAL_STEMS = ("model", "pytorch_model")
ZIP_START = b"PK\x03\x04"
PICKLE_STARTS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
# Beside a model, of the same format, but none.
BESIDE = re.compile(r"mmproj|imatrix|^adapter_model|^training_args|^optimizer|^scheduler|^rng_state")


def sniff(path: Path) -> Format | None:
    """What the first bytes of a file are those of; of a pickle, which could be anybody's, the name counts as well.

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
    """The model in a file or a folder.

    Of a file that is one part of several, and of safetensors with a `config.json` beside it, all that belongs to it.
    Blocks for the reading of some megabytes. Raises InvalidModelError, naming what is wrong, and the byte if there is
    one; also when there is no model, or more than one.
    """
    try:
        found = (_folder(path) if path.is_dir() else _file(path)) or read_announced(path)
        if found is None:
            raise _unknown(path)
    except OSError as error:
        raise unreadable(path, error) from error
    return found


def _unknown(path: Path) -> InvalidModelError:
    """Raises OSError."""
    if path.is_dir():
        advice = "Give a folder with a .gguf file, or with safetensors and their config.json."
        return InvalidModelError(f"{path} has no model in it", advice)
    with path.open("rb") as file:
        known = mistaken(file.read(START_BYTES))
    if known:
        return invalid(path, f"it {known.what}", 0, known.step)
    return invalid(path, "it is of no known format", 0, "Give a .gguf or .safetensors file.")


def _folder(folder: Path) -> ModelInfo | None:
    """None where no file is of a format that is known here."""
    if (folder / MLC_CONFIG).is_file():
        return _mlc(folder)
    files = sorted(one for one in folder.iterdir() if one.is_file() and not BESIDE.search(one.name))
    for index, read in (("model.safetensors.index.json", _tensors), ("pytorch_model.bin.index.json", _pytorch)):
        if (folder / index).is_file():
            return read(folder, read_index(folder / index))
    for suffix in (suffix for suffixes in SUFFIXES.values() for suffix in suffixes):
        if first := _one_model([one for one in files if one.suffix == suffix]):
            return _file(first)
    renamed = _one_model([one for one in files if sniff(one)])
    return _file(renamed) if renamed else None


def _one_model(files: Sequence[Path]) -> Path | None:
    """The first file of the only model among them, `model` where others are beside it; None without any."""
    firsts = [file for file in files if (part := SHARD.fullmatch(file.name)) is None or int(part[2]) == 1]
    usual = [file for file in firsts if file.stem in USUAL_STEMS] or firsts
    if len(usual) > 1:
        some = ", ".join([*(shown(file.name) for file in usual[:3]), *_and_more(len(usual) - 3)])
        raise InvalidModelError(f"{usual[0].parent} has {len(usual)} models in it: {some}", "Give the path of one.")
    return next(iter(usual or files), None)


def _and_more(count: int) -> list[str]:
    return [f"and {count} more"] if count > 0 else []


def _file(path: Path) -> ModelInfo | None:
    """None for a file of a format that is not known here."""
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
    """All files of the model that `path` is a part of, in order. Raises InvalidModelError where one is missing."""
    part = SHARD.fullmatch(path.name)
    if part is None:
        return (path,)
    name, number, count, suffix = part[1], int(part[2]), int(part[3]), part[4]
    if not 0 < number <= count <= MAX_PARTS:
        raise InvalidModelError(f"{path} is part {number} of {count}, which cannot be", "Is its name the original one?")
    parts = tuple(path.with_name(f"{name}-{one:05}-of-{count:05}{suffix}") for one in range(1, count + 1))
    if missing := [one.name for one in parts if not one.is_file()]:
        advice = "A model in parts needs all of them in one folder, under their original names."
        raise InvalidModelError(f"{path.parent} lacks {len(missing)} of {count} parts: {shown(missing[0])}", advice)
    return parts


def _gguf(files: Sequence[Path]) -> ModelInfo:
    info = from_gguf(*map(read_gguf, files))
    unnamed = () if info.architecture else (Evidence("its header names no architecture", 0.5),)
    return replace(
        info, evidence=(Evidence("it starts as GGUF, and its header is whole"), *_name("gguf", files), *unnamed)
    )


def _name(format: Format, files: Sequence[Path]) -> Iterator[Evidence]:
    if files and SUFFIXES[format] and files[0].suffix not in SUFFIXES[format]:
        yield Evidence(f"its name ends in {shown(files[0].suffix)}, not in {SUFFIXES[format][0]}", 0.1)


def _tensors(folder: Path, files: Sequence[Path]) -> ModelInfo:
    if len(files) > MAX_PARTS:
        raise InvalidModelError(f"{folder} has a model in {len(files)} parts, where {MAX_PARTS} are allowed")
    seen = dict[str, StoredTensor]()
    for file in files:
        for tensor in read_safetensors(file).tensors:
            if tensor.name in seen:
                raise invalid(file, f"the tensor {shown(tensor.name)} is in another part as well", 0)
            seen[tensor.name] = tensor
    config = read_config(folder)
    packing = config.quantization
    sizes = Counter[str]()
    for tensor in seen.values():
        sizes[tensor.dtype] += tensor.size_bytes
    label = packing.label if packing else max(sizes, key=sizes.__getitem__, default="unknown")
    parameters = sum(packing.parameters(tensor) if packing else tensor.elements for tensor in seen.values())
    why = Evidence(f"its headers are those of safetensors, of {len(seen)} tensors")
    return _described("safetensors", folder, files, config, label, parameters or None, why)


def _pytorch(folder: Path, files: Sequence[Path]) -> ModelInfo:
    """Reading such a file would run what is in it, so its size and the configuration must do."""
    config = read_config(folder)
    bits, packing = BITS.get(config.dtype), config.quantization
    about = 8 * sum(file.stat().st_size for file in files) // bits if bits and not packing else None
    label = packing.label if packing else config.dtype or "unknown"
    why = Evidence("it starts as PyTorch's files do, and nothing of it was run", 0.1)
    return _described("pytorch", folder, files, config, label, about, why)


def _mlc(folder: Path) -> ModelInfo:
    """Weights that MLC has compiled: of 32-bit words, whatever is packed in them."""
    told = HFConfig(folder / MLC_CONFIG, read_object(folder / MLC_CONFIG))
    inner, packing = told.values.get("model_config"), told.values.get("quantization")
    both = {**(inner if isinstance(inner, dict) else {}), **told.values}
    files = sorted(folder.glob("params_shard_*.bin"))
    if not files:
        raise InvalidModelError(f"{folder} has no params_shard_*.bin", "Get the whole folder that MLC has compiled.")
    label = packing if isinstance(packing, str) and len(packing) < 20 else "unknown"
    why = Evidence(f"it has MLC's {MLC_CONFIG}")
    info = _described("mlc", folder, files, HFConfig(told.path, both), label, None, why)
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
    told = Evidence("a config.json describes it") if config.values else Evidence("no config.json describes it", 0.4)
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
        evidence=(why, *_name(format, files), told),
    )
