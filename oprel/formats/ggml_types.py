"""Numeric IDs in GGUF files, as data: metadata types, tensor types, names of quantizations.

Sources: `enum gguf_type` in gguf.h, `enum ggml_type` with its block sizes in ggml.h and ggml-common.h, `enum
llama_ftype` in llama.h (all llama.cpp, November 2026). Missing ids were removed upstream (tensor types 4, 5, 31-33,
36-38) or belong to forks (ik_llama.cpp uses 97 and above, and 41 with another meaning), so their layout is unknown.
"""

from enum import Enum


class ValueType(Enum):
    """The type of a metadata value. Each member is (id in files, struct code of a number, else "")."""

    UINT8 = (0, "B")
    INT8 = (1, "b")
    UINT16 = (2, "H")
    INT16 = (3, "h")
    UINT32 = (4, "I")
    INT32 = (5, "i")
    FLOAT32 = (6, "f")
    BOOL = (7, "?")
    STRING = (8, "")
    ARRAY = (9, "")
    UINT64 = (10, "Q")
    INT64 = (11, "q")
    FLOAT64 = (12, "d")

    def __init__(self, number: int, code: str) -> None:
        self.number = number
        self.code = code


class GGMLType(Enum):
    """How the elements of a tensor are packed. Each member is (id in files, elements per block, bytes per block)."""

    F32 = (0, 1, 4)
    F16 = (1, 1, 2)
    Q4_0 = (2, 32, 18)
    Q4_1 = (3, 32, 20)
    Q5_0 = (6, 32, 22)
    Q5_1 = (7, 32, 24)
    Q8_0 = (8, 32, 34)
    Q8_1 = (9, 32, 36)
    Q2_K = (10, 256, 84)
    Q3_K = (11, 256, 110)
    Q4_K = (12, 256, 144)
    Q5_K = (13, 256, 176)
    Q6_K = (14, 256, 210)
    Q8_K = (15, 256, 292)
    IQ2_XXS = (16, 256, 66)
    IQ2_XS = (17, 256, 74)
    IQ3_XXS = (18, 256, 98)
    IQ1_S = (19, 256, 50)
    IQ4_NL = (20, 32, 18)
    IQ3_S = (21, 256, 110)
    IQ2_S = (22, 256, 82)
    IQ4_XS = (23, 256, 136)
    I8 = (24, 1, 1)
    I16 = (25, 1, 2)
    I32 = (26, 1, 4)
    I64 = (27, 1, 8)
    F64 = (28, 1, 8)
    IQ1_M = (29, 256, 56)
    BF16 = (30, 1, 2)
    TQ1_0 = (34, 256, 54)
    TQ2_0 = (35, 256, 66)
    MXFP4 = (39, 32, 17)
    NVFP4 = (40, 64, 36)
    Q1_0 = (41, 128, 18)
    Q2_0 = (42, 64, 18)

    def __init__(self, number: int, block_elements: int, block_bytes: int) -> None:
        self.number = number
        self.block_elements = block_elements
        self.block_bytes = block_bytes


VALUE_TYPES: dict[int, ValueType] = {kind.number: kind for kind in ValueType}
GGML_TYPES: dict[int, GGMLType] = {kind.number: kind for kind in GGMLType}

FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""`general.file_type` -> label. Mixed quantizations carry a single one, so sizes must come from the tensors."""

GUESSED_FILE_TYPE = 1024
"""Flag in `general.file_type`: the converter guessed the rest."""


def file_type(number: int) -> str | None:
    """The label of a `general.file_type`.

    >>> file_type(15), file_type(1024 + 7), file_type(99)
    ('Q4_K_M', 'Q8_0', None)
    """
    return FILE_TYPES.get(number & ~GUESSED_FILE_TYPE)


ENCODERS = frozenset(
    (
        *("bert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2", "jina-bert-v3"),
        *("modern-bert", "neo-bert", "eurobert", "gemma-embedding"),
    )
)
"""Architectures that generate no text. Some older files do not state their pooling."""
