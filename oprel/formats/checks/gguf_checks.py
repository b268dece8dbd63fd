"""Checks a GGUF file with a readable header for problems that make an engine refuse or misread it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from oprel.formats.byte_reader import DAMAGED
from oprel.formats.checks.findings import Finding, error, note, warning
from oprel.formats.gguf import GGUFFile

LAYER = re.compile(r"blk\.(\d+)\.")
SPECIAL_TOKENS = ("bos", "eos")
PADDING = 4096  # bytes that may follow the last tensor, since converters align


def check_gguf(header: GGUFFile) -> Iterator[Finding]:
    """Check one file. Tensors in the other parts of a split model are not reported as missing."""
    path = header.path
    if header.byte_order != sys.byteorder:
        yield warning(
            "byte-order",
            path,
            f"it is {header.byte_order}-endian, unlike this machine",
            "Get a file for this byte order.",
        )
    if (left := _bytes_left(header)) > PADDING:
        yield warning(
            "trailing-bytes", path, f"{left} bytes follow its last tensor", "Compare its size with the original."
        )
    number, count = (_integer(header, f"split.{key}") for key in ("no", "count"))
    yield from _check_name(path, number, count)
    if number:  # only the first part describes the model
        return
    yield from _check_kind(header)
    if (count or 1) == 1:
        yield from _check_tensors(header)


def _check_name(path: Path, number: int | None, count: int | None) -> Iterator[Finding]:
    """Engines derive the names of the other parts from the first."""
    if number is None or (count or 1) < 2:
        return
    ending = f"-{number + 1:05}-of-{count:05}.gguf"
    if not path.name.endswith(ending):
        what = f"its header says part {number + 1} of {count}, but its name does not end in {ending}"
        yield error("part-names", path, what, "Give all parts their original names.")


def _check_kind(header: GGUFFile) -> Iterator[Finding]:
    path = header.path
    if not header.architecture:
        yield error("no-architecture", path, "its header does not name an architecture", DAMAGED)
    elif header.architecture == "clip":
        yield error("projector", path, "it is a projector, not a model", "Give the model that it belongs to.")
    elif header.metadata.get("general.type") == "adapter":
        yield error("adapter", path, "it is an adapter, not a model", "Apply it to its model with `oprel create`.")
    else:
        yield from _check_tokens(header)


def _check_tokens(header: GGUFFile) -> Iterator[Finding]:
    path, size = header.path, header.vocabulary_size
    if "tokenizer.ggml.tokens" not in header.metadata:
        yield error("no-vocabulary", path, "it has no vocabulary", "Convert it again together with its tokenizer.")
        return
    for name in SPECIAL_TOKENS:
        token = _integer(header, f"tokenizer.ggml.{name}_token_id")
        if token is not None and size is not None and token >= size:
            yield error(
                "token-outside",
                path,
                f"its {name} token {token} is outside the vocabulary of {size}",
                "Convert it again.",
            )
    if not header.chat_template and header.pooling_type is None:
        yield note("no-chat-template", path, "it has no chat template: a base model, which continues texts")


def _check_tensors(header: GGUFFile) -> Iterator[Finding]:
    if not header.tensors:
        yield error("vocabulary-only", header.path, "it has no tensors: it is a vocabulary, not a model", DAMAGED)
        return
    layers = {int(match[1]) for tensor in header.tensors if (match := LAYER.match(tensor.name))}
    count = header.block_count
    if count is not None and count <= 1024 and (missing := set(range(count)) - layers):
        what = f"tensors of {len(missing)} of its {count} layers are missing, the first is layer {min(missing)}"
        yield error("wrong-tensors", header.path, what, DAMAGED)


def _bytes_left(header: GGUFFile) -> int:
    if not header.tensors:
        return 0
    last = header.tensors[-1]
    return header.size_bytes - header.data_offset - last.offset - last.size_bytes


def _integer(header: GGUFFile, key: str) -> int | None:
    value = header.metadata.get(key)
    return value if type(value) is int else None
