"""What is the matter with a GGUF file whose header could be read: what an engine would refuse, or misunderstand."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from oprel.formats.byte_reader import DAMAGED
from oprel.formats.checks.findings import Finding, error, note, warning
from oprel.formats.gguf import GGUFFile

LAYER = re.compile(r"blk\.(\d+)\.")
SPECIAL_TOKENS = ("bos", "eos")
PADDING = 4096  # bytes that may follow the last tensor: converters align


def check_gguf(header: GGUFFile) -> Iterator[Finding]:
    """One file. Of a model in parts the tensors of the others are not missed."""
    path = header.path
    if header.byte_order != sys.byteorder:
        yield warning(path, f"its numbers are {header.byte_order}-endian, unlike this machine's", "Get another file.")
    if (left := _bytes_left(header)) > PADDING:
        yield warning(path, f"{left} bytes follow its last tensor", "Compare its size with the original's.")
    number, count = (_whole(header, f"split.{key}") for key in ("no", "count"))
    yield from _check_name(path, number, count)
    if number:  # the first part describes the model
        return
    yield from _check_kind(header)
    if (count or 1) == 1:
        yield from _check_tensors(header)


def _check_name(path: Path, number: int | None, count: int | None) -> Iterator[Finding]:
    """Engines find the other parts by the name of the first."""
    if number is None or (count or 1) < 2:
        return
    ending = f"-{number + 1:05}-of-{count:05}.gguf"
    if not path.name.endswith(ending):
        what = f"it is part {number + 1} of {count} by its header, but its name does not end in {ending}"
        yield error(path, what, "Give all parts their original names.")


def _check_kind(header: GGUFFile) -> Iterator[Finding]:
    path = header.path
    if not header.architecture:
        yield error(path, "its header names no architecture", DAMAGED)
    elif header.architecture == "clip":
        yield error(path, "it is a projector, which only sees for a model", "Name the model that it belongs to.")
    elif header.metadata.get("general.type") == "adapter":
        yield error(path, "it is an adapter, which only changes a model", "`oprel create` puts it on its model.")
    else:
        yield from _check_tokens(header)


def _check_tokens(header: GGUFFile) -> Iterator[Finding]:
    path, size = header.path, header.vocabulary_size
    if "tokenizer.ggml.tokens" not in header.metadata:
        yield error(path, "it has no vocabulary", "Convert it again, with its tokenizer beside it.")
        return
    for name in SPECIAL_TOKENS:
        token = _whole(header, f"tokenizer.ggml.{name}_token_id")
        if token is not None and size is not None and token >= size:
            yield error(path, f"its {name} token is number {token} of {size}", "Convert it again.")
    if header.chat_template is None and header.pooling_type is None:
        yield note(path, "it has no chat template: chats are written as the engine thinks fit")


def _check_tensors(header: GGUFFile) -> Iterator[Finding]:
    if not header.tensors:
        yield error(header.path, "it has no tensors: it is a vocabulary, no model", DAMAGED)
        return
    layers, told = {int(found[1]) for one in header.tensors if (found := LAYER.match(one.name))}, header.block_count
    if told is not None and told <= 1024 and (missing := set(range(told)) - layers):
        what = f"the tensors of {len(missing)} of its {told} layers are missing, of layer {min(missing)} first"
        yield error(header.path, what, DAMAGED)


def _bytes_left(header: GGUFFile) -> int:
    if not header.tensors:
        return 0
    last = header.tensors[-1]
    return header.size_bytes - header.data_offset - last.offset - last.size_bytes


def _whole(header: GGUFFile, key: str) -> int | None:
    found = header.metadata.get(key)
    return found if type(found) is int else None
