"""The header of a whole model; each shard describes only its own tensors."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from oprel.formats.detect import parts
from oprel.formats.gguf import GGUFFile, read_gguf


def read_whole(weights: Path, shards: Sequence[Path] = ()) -> GGUFFile:
    """The metadata of the first file, the tensors and total size of all `shards` (default: derived from the name).

    Tensor offsets are relative to their own files. Raises InvalidModelError, also if a shard is missing.
    """
    return merged([read_gguf(path) for path in shards or parts(weights)])


def merged(headers: Sequence[GGUFFile]) -> GGUFFile:
    """Merge the headers of all shards of one model, given in order."""
    first, *others = headers
    if not others:
        return first
    return replace(
        first,
        tensors=tuple(tensor for header in headers for tensor in header.tensors),
        size_bytes=sum(header.size_bytes for header in headers),
    )
