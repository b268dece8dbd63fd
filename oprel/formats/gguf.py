"""Headers of GGUF model files, treated as untrusted input.

A file is `GGUF`, a version, two counts, that many key/values, that many tensor descriptions, padding, tensor data.
Every declared length is compared with the bytes left before anything is read or allocated; long arrays are skipped.

Sources: the format in docs/gguf.md of ggml-org/ggml; what an engine accepts in ggml/src/gguf.cpp of llama.cpp
(unique keys, names under 64 bytes, 4 dimensions, no nested arrays, gapless offsets). The MAX_* limits that bound time
and memory are ours, several times above any known model.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

from oprel.core.exceptions import InvalidModelError
from oprel.formats.byte_reader import ByteOrder, ByteReader
from oprel.formats.checks.mistaken import START_BYTES, mistaken
from oprel.formats.ggml_types import ENCODERS, GGML_TYPES, VALUE_TYPES, GGMLType, ValueType, file_type
from oprel.formats.untrusted_json import shown

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
MAX_HEADER_BYTES = 256 * 1024**2
MAX_KEYS, MAX_TENSORS = 10**5, 10**6
MAX_KEY_BYTES, MAX_TENSOR_NAME_BYTES = 4096, 63
MAX_DIMENSIONS, MAX_ELEMENTS = 4, 2**63 - 1
MAX_WORK = 4 * 10**6  # array elements visited plus characters kept; known models need about a million
MIN_KEY_VALUE_BYTES = 14  # a length, one character, a type, one byte
MIN_TENSOR_BYTES = 24  # a length, the number of dimensions, a type, an offset
LONGEST_STRING_KEPT_BYTES = 1024**2
LONGEST_NUMBERS_KEPT, LONGEST_STRINGS_KEPT = 1024, 64  # numbers of each layer: engines have at most 512 layers


@dataclass(frozen=True)
class SkippedArray:
    """`count` elements that were skipped. A string beyond LONGEST_STRING_KEPT_BYTES becomes one of UINT8."""

    kind: ValueType
    count: int
    places: tuple[tuple[int, int], ...] = field(default=(), compare=False)  # numbers and positions of some strings


Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...] | SkippedArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """`shape` lists the contiguous dimension first. `offset` counts bytes from the start of the data section."""

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    offset: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class GGUFFile:
    """A checked header. `data_offset` (of the data section) and `size_bytes` (of the whole file) are bytes.

    Properties come from metadata. They are None or empty if the key is missing or has the wrong type.
    """

    path: Path
    version: int
    byte_order: ByteOrder
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    size_bytes: int

    @property
    def architecture(self) -> str:
        """Such as "llama" or "bert"; also the prefix of the model's keys. Shards may lack it."""
        return self._text("general.architecture") or ""

    @property
    def name(self) -> str:
        """The model's title as its author wrote it, not its name in oprel."""
        return self._text("general.name") or ""

    @property
    def context_length(self) -> int | None:
        return self._integer(f"{self.architecture}.context_length")

    @property
    def embedding_length(self) -> int | None:
        """Elements of a token's embedding vector."""
        return self._integer(f"{self.architecture}.embedding_length")

    @property
    def block_count(self) -> int | None:
        return self._integer(f"{self.architecture}.block_count")

    @property
    def pooling_type(self) -> int | None:
        """Of an embedding model: 0 unstated, 1 mean, 2 first token, 3 last token, 4 rank (a reranker). Else None."""
        return self._integer(f"{self.architecture}.pooling_type", 0 if self.architecture in ENCODERS else None)

    @property
    def chat_template(self) -> str | None:
        """Jinja source, untrusted: render it in a sandbox only."""
        return self._text("tokenizer.chat_template")

    @property
    def vocabulary_size(self) -> int | None:
        match self.metadata.get("tokenizer.ggml.tokens"):
            case SkippedArray(count=count):
                return count
            case tuple(tokens):
                return len(tokens)
            case _:
                return self._integer(f"{self.architecture}.vocab_size")

    @property
    def parameter_count(self) -> int:
        """Elements of all tensors in this file (one shard, if the model is split)."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        """A label such as "Q4_K_M": the file's own, else the tensor type with the most bytes, else "unknown"."""
        declared = self._integer("general.file_type")
        if declared is not None and (label := file_type(declared)):
            return label
        sizes = Counter[str]()
        for tensor in self.tensors:
            sizes[tensor.type.name] += tensor.size_bytes
        return max(sizes, key=sizes.__getitem__, default="unknown")

    def _integer(self, key: str, otherwise: int | None = None) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else otherwise

    def _text(self, key: str) -> str | None:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None


def looks_like_gguf(path: Path) -> bool:
    """Whether `path` is a regular file that starts with GGUF's magic bytes; False if it cannot be read."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_gguf(path: Path, *, every_array: bool = False) -> GGUFFile:
    """Read and check the header of a GGUF file, and check that the file is long enough for its tensors.

    Long arrays are skipped, or with `every_array` kept. Blocks to read a few megabytes. Raises InvalidModelError, which
    names the reason and the byte where reading stopped, also for a missing file.
    """
    try:
        if not path.is_file():  # checked before opening: a pipe would block
            what = "is not a file" if path.exists() else "does not exist"
            raise InvalidModelError(f"{path} {what}", "Give the path of a .gguf file.")
        with path.open("rb") as file:
            work = 8 * MAX_WORK if every_array else MAX_WORK
            reader = ByteReader(file, path, limit_bytes=MAX_HEADER_BYTES, limit_work=work, keeps_arrays=every_array)
            return _read(reader)
    except OSError as error:
        raise InvalidModelError(f"{path} cannot be read: {error.strerror}", "Check its permissions.") from error


def read_gguf_from(file: BinaryIO, name: str, size_bytes: int) -> GGUFFile:
    """Like `read_gguf`, for any seekable object of that size. `name` stands for the path in errors."""
    path = Path(name)
    return _read(ByteReader(file, path, limit_bytes=MAX_HEADER_BYTES, limit_work=MAX_WORK, size_bytes=size_bytes))


def begin(reader: ByteReader) -> tuple[int, int, Iterator[tuple[str, Value]]]:
    """The version, the number of tensors, and the metadata in file order, read as it is consumed."""
    _check_magic(reader)
    version = _read_version(reader)
    tensor_count, key_count = _read_counts(reader)
    return version, tensor_count, _read_metadata(reader, key_count)


def _read(reader: ByteReader) -> GGUFFile:
    version, tensor_count, keys = begin(reader)
    metadata = dict(keys)
    alignment = _alignment(reader, metadata)
    tensors = _read_tensors(reader, tensor_count, alignment)
    data_offset = _align(reader.position, alignment)
    _check_data(reader, tensors, data_offset)
    return GGUFFile(
        path=reader.path,
        version=version,
        byte_order=reader.byte_order,
        metadata=metadata,
        tensors=tensors,
        data_offset=data_offset,
        size_bytes=reader.size_bytes,
    )


def _check_magic(reader: ByteReader) -> None:
    if reader.size_bytes == 0:
        raise reader.error("the file is empty")
    start = reader.take(min(len(MAGIC), reader.size_bytes))
    if start == MAGIC:
        return
    if mistake := mistaken(start + reader.take(min(START_BYTES, reader.size_bytes) - len(start))):
        raise reader.error(f"it {mistake.what}", mistake.step, at=0)
    raise reader.error("it does not start with the letters GGUF", "Give a complete .gguf file.", at=0)


def _read_version(reader: ByteReader) -> int:
    start, version = reader.position, reader.integer("I")
    if version & 0xFFFF == 0:  # There is no byte order flag, but a swapped small number has empty low bytes.
        reader.byte_order = "big"
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version == 1:
        advice = "Version 1 is from August 2023: download a newer conversion of the model."
        raise reader.error("GGUF version 1 is not supported", advice, at=start)
    if version not in VERSIONS:
        raise reader.error(f"unknown GGUF version {version}", "The file is damaged or newer than oprel.", at=start)
    return version


def _read_counts(reader: ByteReader) -> tuple[int, int]:
    start, (tensors, keys) = reader.position, reader.integers("QQ")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise reader.error(f"{tensors} tensors and {keys} keys are more than any model has", at=start)
    least = keys * MIN_KEY_VALUE_BYTES + tensors * MIN_TENSOR_BYTES
    reader.require(least, f"a header of {keys} keys and {tensors} tensors")
    return tensors, keys


def _read_metadata(reader: ByteReader, count: int) -> Iterator[tuple[str, Value]]:
    keys = set[str]()
    for _ in range(count):
        start, key = reader.position, reader.name(MAX_KEY_BYTES)
        if not key:
            raise reader.error("a key is empty", at=start)
        if key in keys:
            raise reader.error(f"the key {shown(key)} occurs twice", at=start)
        keys.add(key)
        yield key, _read_value(reader)


def _read_value(reader: ByteReader) -> Value:
    match _read_value_type(reader):
        case ValueType.ARRAY:
            return _read_array(reader)
        case ValueType.STRING:
            return _read_string(reader)
        case kind:
            return reader.numbers(kind.code)[0]


def _read_value_type(reader: ByteReader) -> ValueType:
    start, number = reader.position, reader.integer("I")
    if number not in VALUE_TYPES:
        raise reader.error(f"unknown value type {number}", at=start)
    return VALUE_TYPES[number]


def _read_string(reader: ByteReader) -> str | SkippedArray:
    length = reader.integer("Q")
    if length <= LONGEST_STRING_KEPT_BYTES:
        return reader.text(length)
    reader.skip(length)
    return SkippedArray(ValueType.UINT8, length)


def _read_array(reader: ByteReader) -> tuple[Scalar, ...] | SkippedArray:
    start, kind = reader.position, _read_value_type(reader)
    if kind is ValueType.ARRAY:
        raise reader.error("nested arrays are not supported, by engines either", at=start)
    count = reader.integer("Q")
    return _read_strings(reader, count) if kind is ValueType.STRING else _read_numbers(reader, kind, count)


def _read_strings(reader: ByteReader, count: int) -> tuple[str, ...] | SkippedArray:
    if count > LONGEST_STRINGS_KEPT and not reader.keeps_arrays:
        return SkippedArray(ValueType.STRING, count, reader.skip_strings(count))
    reader.charge(count)
    return tuple(reader.text(reader.integer("Q")) for _ in range(count))


def _read_numbers(reader: ByteReader, kind: ValueType, count: int) -> tuple[Scalar, ...] | SkippedArray:
    if count > LONGEST_NUMBERS_KEPT and not reader.keeps_arrays:
        reader.skip(count * struct.calcsize(f"<{kind.code}"))
        return SkippedArray(kind, count)
    reader.charge(count)
    return reader.numbers(f"{count}{kind.code}")


def _alignment(reader: ByteReader, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
        raise reader.error("general.alignment is not a power of two")
    return alignment


def _align(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _read_tensors(reader: ByteReader, count: int, alignment: int) -> tuple[Tensor, ...]:
    tensors: dict[str, Tensor] = {}
    end = 0
    for _ in range(count):
        start, tensor = reader.position, _read_tensor(reader)
        if tensor.name in tensors:
            raise reader.error(f"the tensor {shown(tensor.name)} occurs twice", at=start)
        if tensor.offset != end:  # As engines require: a gap or an overlap means damage.
            raise reader.error(f"the tensor {shown(tensor.name)} is at offset {tensor.offset}, not at {end}", at=start)
        tensors[tensor.name] = tensor
        end = _align(end + tensor.size_bytes, alignment)
    return tuple(tensors.values())


def _read_tensor(reader: ByteReader) -> Tensor:
    start, name = reader.position, reader.name(MAX_TENSOR_NAME_BYTES)
    dimensions = reader.integer("I")
    if dimensions > MAX_DIMENSIONS:
        raise reader.error(f"the tensor {shown(name)} has {dimensions} dimensions", at=start)
    *shape, kind, offset = reader.integers(f"{dimensions}QIQ")
    elements, row = prod(shape), shape[0] if shape else 1
    if not 0 < elements <= MAX_ELEMENTS:
        raise reader.error(f"the tensor {shown(name)} has {elements} elements", at=start)
    if kind not in GGML_TYPES:
        advice = "The quantization was removed, is too new, or belongs to a fork of llama.cpp: choose another one."
        raise reader.error(f"unsupported quantization: the tensor {shown(name)} has type {kind}", advice, at=start)
    packing = GGML_TYPES[kind]
    if row % packing.block_elements:
        raise reader.error(f"rows of the tensor {shown(name)} are not whole {packing.name} blocks", at=start)
    size_bytes = elements // packing.block_elements * packing.block_bytes
    return Tensor(name=name, shape=tuple(shape), type=packing, offset=offset, size_bytes=size_bytes)


def _check_data(reader: ByteReader, tensors: tuple[Tensor, ...], data_offset: int) -> None:
    if not tensors:  # A vocabulary-only file, or the first shard of some models.
        return
    # The last tensor's padding may be absent.
    end = data_offset + tensors[-1].offset + tensors[-1].size_bytes
    if end > reader.size_bytes:
        raise reader.error(f"its tensors end at byte {end}, the file at byte {reader.size_bytes}", at=data_offset)
