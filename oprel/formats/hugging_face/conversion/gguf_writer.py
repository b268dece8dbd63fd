"""Writes a GGUF file whose tensors come from safetensors files."""

import math
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oprel.formats.ggml_types import GGMLType, ValueType
from oprel.formats.gguf import (
    DEFAULT_ALIGNMENT,
    LONGEST_NUMBERS_KEPT,
    LONGEST_STRINGS_KEPT,
    MAGIC,
    GGUFFile,
    Scalar,
    SkippedArray,
    Tensor,
    Value,
)

VERSION = 3
COPY_BYTES = 16 * 1024**2
TYPES: Mapping[str, GGMLType] = {"F32": GGMLType.F32, "F16": GGMLType.F16, "BF16": GGMLType.BF16}

Metadata = Mapping[str, Scalar | tuple[Scalar, ...]]


@dataclass(frozen=True, kw_only=True)
class SourceTensor:
    """A tensor to write, and where its elements are: at byte `offset` of `file`, in the type `stored`.

    `shape` lists the contiguous dimension first.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    file: Path
    offset: int
    stored: GGMLType

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Conversion:
    """A GGUF file that is not written yet."""

    metadata: Metadata
    tensors: tuple[SourceTensor, ...]

    def header(self, path: Path) -> GGUFFile:
        """What reading the header of the file at `path` gives, or would give."""
        tensors = tuple(_laid_out(self.tensors))
        start = len(_head(self.metadata, tensors))
        return GGUFFile(
            path=path,
            version=VERSION,
            byte_order="little",
            metadata={name: _kept(value) for name, value in self.metadata.items()},
            tensors=tensors,
            data_offset=start,
            size_bytes=start + _aligned(tensors[-1].offset + tensors[-1].size_bytes),
        )

    def write(self, file: BinaryIO) -> None:
        """Blocks for as long as copying takes. Raises OSError."""
        file.write(_head(self.metadata, tuple(_laid_out(self.tensors))))
        for tensor in self.tensors:
            written = sum(file.write(piece) for piece in _content(tensor))
            file.write(bytes(_aligned(written) - written))


def _laid_out(tensors: Iterable[SourceTensor]) -> Iterator[Tensor]:
    offset = 0
    for tensor in tensors:
        size = tensor.elements * tensor.type.block_bytes
        yield Tensor(name=tensor.name, shape=tensor.shape, type=tensor.type, offset=offset, size_bytes=size)
        offset = _aligned(offset + size)


def _head(metadata: Metadata, tensors: Sequence[Tensor]) -> bytes:
    """Everything before the data."""
    head = bytearray(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
    for name, value in metadata.items():
        head += _text(name) + _value(value)
    for tensor in tensors:
        sides = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        head += _text(tensor.name) + sides + struct.pack("<IQ", tensor.type.number, tensor.offset)
    return bytes(head) + bytes(_aligned(len(head)) - len(head))


def _value(value: Scalar | tuple[Scalar, ...]) -> bytes:
    if not isinstance(value, tuple):
        kind = _kind(value)
        return struct.pack("<I", kind.number) + _scalar(kind, value)
    kind = _kind_of_items(value)
    start = struct.pack("<IIQ", ValueType.ARRAY.number, kind.number, len(value))
    return start + b"".join(_scalar(kind, item) for item in value)


def _kind(value: Scalar) -> ValueType:
    match value:
        case bool():
            return ValueType.BOOL
        case int():
            return ValueType.INT32 if value < 0 else ValueType.UINT32
        case float():
            return ValueType.FLOAT32
        case str():
            return ValueType.STRING


def _kind_of_items(values: tuple[Scalar, ...]) -> ValueType:
    kind = _kind(values[0])
    return ValueType.INT32 if kind is ValueType.UINT32 else kind  # what llama.cpp has its arrays in


def _scalar(kind: ValueType, value: Scalar) -> bytes:
    return _text(value) if isinstance(value, str) else struct.pack(f"<{kind.code}", value)


def _text(text: str) -> bytes:
    encoded = text.encode(errors="replace")
    return struct.pack("<Q", len(encoded)) + encoded


def _kept(value: Scalar | tuple[Scalar, ...]) -> Value:
    """The value as a reader keeps it: floats of 32 bits, valid UTF-8, no long arrays."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float):
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    if not isinstance(value, tuple):
        return value
    longest = LONGEST_STRINGS_KEPT if isinstance(value[0], str) else LONGEST_NUMBERS_KEPT
    return value if len(value) <= longest else SkippedArray(_kind_of_items(value), len(value))


def _aligned(count: int) -> int:
    return -(-count // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _content(tensor: SourceTensor) -> Iterator[bytes]:
    """The bytes of a tensor, in pieces. Raises OSError, EOFError for a file that became shorter."""
    left = tensor.elements * tensor.stored.block_bytes
    with tensor.file.open("rb") as file:
        file.seek(tensor.offset)
        while left:
            piece = file.read(min(left, COPY_BYTES))
            if not piece:
                raise EOFError(f"{tensor.file} ends within the tensor {tensor.name}")
            left -= len(piece)
            yield piece if tensor.stored is tensor.type else _as_float32(piece, tensor.stored)


def _as_float32(content: bytes, stored: GGMLType) -> bytes:
    """16-bit floats as 32-bit floats."""
    count = len(content) // 2
    if stored is GGMLType.BF16:  # the upper half of a float of 32 bits
        wide = bytearray(4 * count)
        wide[2::4], wide[3::4] = content[0::2], content[1::2]
        return bytes(wide)
    return array("f", struct.unpack(f"<{count}e", content)).tobytes()
