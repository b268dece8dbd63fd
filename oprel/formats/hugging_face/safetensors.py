"""Headers of safetensors files, treated as untrusted input.

A file is the header length in 8 bytes, the header, the data. The header is a JSON object with a dtype, a shape and two
offsets into the data for each tensor; `__metadata__` holds strings. The tensors must cover the data without gaps or
overlaps.

Sources: the format in README.md of huggingface/safetensors, the dtypes and checks in safetensors/src/tensor.rs.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from oprel.core.exceptions import InvalidModelError
from oprel.formats.untrusted_json import Json, check_file, invalid, parse_object, read_object, shown, unreadable

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 * 1024**2  # the format allows 100 MB; no known file needs 3
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**63 - 1
METADATA = "__metadata__"
FILE_NAME = re.compile(r"[^/\\\0]{1,200}\.(safetensors|bin)")
BITS = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits per element of each dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """`shape` lists the contiguous dimension last. `offset` counts bytes from the start of the data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True, kw_only=True)
class SafetensorsFile:
    """A checked header. `data_offset` (of the data) and `size_bytes` (of the whole file) are bytes."""

    path: Path
    metadata: Mapping[str, str]
    tensors: tuple[StoredTensor, ...]
    data_offset: int
    size_bytes: int


def read_safetensors(path: Path) -> SafetensorsFile:
    """Read and check the header of one file, and check that the file is as long as its tensors.

    Raises InvalidModelError, which names the reason and the byte, also for a missing file.
    """
    try:
        check_file(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            length = _checked_length(path, file.read(LENGTH_BYTES), size)
            header = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from error
    return _checked(path, header, size)


def _checked_length(path: Path, start: bytes, size: int) -> int:
    length = int.from_bytes(start, "little")
    if size < LENGTH_BYTES:
        raise invalid(path, "it is too short for a safetensors file", 0)
    if length > MAX_HEADER_BYTES:
        raise invalid(path, f"its header has {length} bytes, but at most {MAX_HEADER_BYTES} are allowed", 0)
    if length > size - LENGTH_BYTES:
        raise invalid(path, f"its header needs {length} bytes, but the file ends after {size - LENGTH_BYTES}", 0)
    return length


def _checked(path: Path, header: bytes, size: int) -> SafetensorsFile:
    if not header.startswith(b"{"):
        raise invalid(path, "its header is not a JSON object", LENGTH_BYTES)
    entries = parse_object(header, path, LENGTH_BYTES)
    reader = _Entries(path, header)
    metadata = reader.metadata(entries.pop(METADATA, {}))
    tensors = tuple(sorted(reader.tensors(entries), key=lambda tensor: (tensor.offset, tensor.size_bytes)))
    reader.check_order(tensors, size - LENGTH_BYTES - len(header))
    return SafetensorsFile(
        path=path, metadata=metadata, tensors=tensors, data_offset=LENGTH_BYTES + len(header), size_bytes=size
    )


@dataclass(frozen=True)
class _Entries:
    """Checks the entries of a header one by one."""

    path: Path
    header: bytes

    def error(self, name: str, reason: str) -> InvalidModelError:
        at = self.header.find(name.encode(errors="replace"))  # -1 if it is written with escapes
        return invalid(self.path, f"the tensor {shown(name)} {reason}", LENGTH_BYTES + max(0, at))

    def metadata(self, entry: Json) -> dict[str, str]:
        if not isinstance(entry, dict):
            raise self.error(METADATA, "is not an object")
        texts = {name: value for name, value in entry.items() if isinstance(value, str)}
        if len(texts) < len(entry):
            raise self.error(METADATA, "has values that are not strings")
        return texts

    def tensors(self, entries: Mapping[str, Json]) -> Iterator[StoredTensor]:
        for name, entry in entries.items():
            match entry:
                case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if not (
                    isinstance(begin, bool) or isinstance(end, bool)
                ):
                    yield self.tensor(name, dtype, shape, begin, end)
                case _:
                    raise self.error(name, "lacks a dtype, a shape or two data_offsets")

    def tensor(self, name: str, dtype: str, shape: list[Json], begin: int, end: int) -> StoredTensor:
        sides = tuple(side for side in shape if type(side) is int and side >= 0)
        if len(sides) < len(shape) or len(sides) > MAX_DIMENSIONS:
            raise self.error(name, "has an invalid shape")
        elements = prod(sides)
        if elements > MAX_ELEMENTS or any(side > MAX_ELEMENTS for side in sides):
            raise self.error(name, "has too many elements")
        if dtype not in BITS:
            raise self.error(name, f"has the unknown dtype {shown(dtype)}")
        bits = elements * BITS[dtype]
        if bits % 8 or end - begin != bits // 8 or begin < 0:
            raise self.error(
                name, f"occupies bytes {_short(begin)} to {_short(end)} of the data, but needs {bits / 8:.12g}"
            )
        return StoredTensor(name=name, dtype=dtype, shape=sides, offset=begin, size_bytes=end - begin)

    def check_order(self, tensors: tuple[StoredTensor, ...], data_bytes: int) -> None:
        end = 0
        for tensor in tensors:
            if tensor.offset != end:
                raise self.error(tensor.name, f"starts at byte {_short(tensor.offset)} of the data, not at {end}")
            end += tensor.size_bytes
        if end != data_bytes:
            reason = f"its tensors take {end} bytes, but its data has {data_bytes}"
            raise invalid(self.path, reason, LENGTH_BYTES + len(self.header))


def _short(number: int) -> str:
    return str(number) if abs(number) < 2**64 else f"more than {2**64}"


def read_index(path: Path) -> tuple[Path, ...]:
    """The files of a split model that `…index.json` lists, each once and in order.

    All lie in the folder of the index. Raises InvalidModelError if one is missing.
    """
    named = read_object(path).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise invalid(path, "it has no weight_map", 0)
    names = set[str]()
    for name in named.values():
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            raise invalid(path, f"its weight_map names {shown(str(name))}, which is not a file of its folder", 0)
        names.add(name)
    files = tuple(path.parent / name for name in sorted(names))
    if missing := [file.name for file in files if not file.is_file()]:
        raise invalid(path, f"{len(missing)} of its {len(files)} files are missing, {shown(missing[0])} first", 0)
    return files
