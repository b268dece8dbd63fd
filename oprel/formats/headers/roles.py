"""What a GGUF file is, by its first keys: a model, or one of the files that come with models.

Sources, in llama.cpp: the types in gguf-py/gguf/constants.py, what tools/imatrix and tools/cvector-generator write, the
architectures of draft models in src/llama-arch.cpp, `--mtp` of convert_hf_to_gguf.py, the keys in tools/mtmd/clip.cpp.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from oprel.formats.byte_reader import ByteReader
from oprel.formats.gguf import MAX_HEADER_BYTES, MAX_WORK, GGUFFile, Value, begin
from oprel.formats.headers.remote import Fetch, Ranges

STEPS = (4 * 1024, 64 * 1024, 4 * 1024**2)  # bytes; the first one has what is looked for in nearly all files
DRAFTS = ("eagle3", "dflash", "dspark", "gemma4-assistant")
LEAST_TENSORS = 4  # of a layer: each has at least five
SHARD = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


class Role(Enum):
    """The values complete a sentence whose subject is the file."""

    MODEL = "a model"
    PROJECTOR = "a projector"
    DRAFT = "a draft model"
    ADAPTER = "an adapter"
    CONTROL_VECTOR = "a control vector"
    IMPORTANCE_MATRIX = "an importance matrix"
    VOCABULARY = "a vocabulary without weights"
    COMPONENT = "not a language model"


TYPES = {"adapter": Role.ADAPTER, "imatrix": Role.IMPORTANCE_MATRIX, "mmproj": Role.PROJECTOR}
ARCHITECTURES = {
    "clip": Role.PROJECTOR,
    "controlvector": Role.CONTROL_VECTOR,
    "imatrix": Role.IMPORTANCE_MATRIX,
    **dict.fromkeys(DRAFTS, Role.DRAFT),
}


@dataclass(frozen=True)
class Start:
    """The keys before the tokenizer's, and the number of tensors in this file."""

    tensor_count: int
    metadata: Mapping[str, Value]
    is_shard: bool = False

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def role(self) -> Role:
        """A shard may lack what would tell; it counts as a model."""
        stated = TYPES.get(str(self.metadata.get("general.type", ""))) or ARCHITECTURES.get(self.architecture)
        if stated or self.is_shard:
            return stated or Role.MODEL
        layers = self._number("block_count")
        if not layers:
            return Role.COMPONENT
        if not self.tensor_count:
            return Role.VOCABULARY
        # A head that predicts several tokens states the layers of its model, but has one or two of them.
        is_head = self._number("nextn_predict_layers") and self.tensor_count < LEAST_TENSORS * layers
        return Role.DRAFT if is_head else Role.MODEL

    @property
    def width(self) -> int:
        """Elements of the vectors that a model takes or a projector makes; 0 if unknown."""
        names = ("embedding_length", "vision.projection_dim", "audio.projection_dim")
        return next(filter(None, map(self._number, names)), 0)

    def _number(self, name: str) -> int:
        value = self.metadata.get(f"{self.architecture}.{name}")
        return value if type(value) is int else 0


def role_of(header: GGUFFile) -> Role:
    """What a file is by its whole header."""
    return Start(len(header.tensors), header.metadata, bool(SHARD.search(header.path.name))).role


def read_start(fetch: Fetch, name: str, size_bytes: int) -> Start:
    """The start of a remote file. Raises InvalidModelError, and what `fetch` raises."""
    ranges = Ranges(fetch, size_bytes, STEPS)
    reader = ByteReader(ranges, Path(name), limit_bytes=MAX_HEADER_BYTES, limit_work=MAX_WORK, size_bytes=size_bytes)
    _, tensor_count, keys = begin(reader)
    metadata = dict[str, Value]()
    for key, value in keys:
        metadata[key] = value
        if key.startswith("tokenizer.") and f"{metadata.get('general.architecture')}.block_count" in metadata:
            break
    return Start(tensor_count, metadata, bool(SHARD.search(name)))
