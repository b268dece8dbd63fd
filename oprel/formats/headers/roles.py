"""What a GGUF file is, by its first keys: a model, or one of the files that come with models.

Sources, in llama.cpp: the types in gguf-py/gguf/constants.py, what tools/imatrix and tools/cvector-generator write, the
architectures of draft models in src/llama-arch.cpp, `--mtp` of convert_hf_to_gguf.py, the keys in tools/mtmd/clip.cpp.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from oprel.formats.gguf import GGUFFile, Value

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
    """The first keys of a file, at least those of its architecture, and the number of its tensors."""

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


def is_shard(name: str) -> bool:
    return SHARD.search(name) is not None


def role_of(header: GGUFFile) -> Role:
    """What a file is by its whole header."""
    return Start(len(header.tensors), header.metadata, is_shard(header.path.name)).role
