"""Groups the files of a repository into variants of one model, by quantization. Pure.

Rules and names follow llama.cpp's own downloader (common/download.cpp) and the file names of common publishers, such
as `X-q4_k_m-00001-of-00002.gguf`, `X.i1-Q4_K_M.gguf`, `UD-Q2_K_XL/X-UD-Q2_K_XL-00001-of-00005.gguf`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

UNKNOWN = "unknown"
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
# GGUF files that are not models by themselves: projectors, importance matrices, multi-token draft models.
NO_MODEL = re.compile(r"mmproj|imatrix|(?:^|[-_./])(?:mtp|eagle3|dflash|dspark)-", re.IGNORECASE)
PROJECTOR = re.compile(r"mmproj", re.IGNORECASE)
QUANTIZATION = re.compile(
    r"(?:^|[-._/])(?P<prefix>UD-|i1-)?"
    r"(?P<name>IQ[1-5]_(?:XXS|XS|NL|K[STL]*|S|M)|Q[2-8]_K(?:_(?:XXL|XL|S|M|L))?|Q[1-8]_[01]|TQ[12]_0"
    r"|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?:_R\d+)?(?=$|[-.])",
    re.IGNORECASE,
)
FOLDER_FILE = re.compile(
    r"[^/]+\.(?:safetensors|json|jinja|txt|model)"
    r"|\d+_[A-Za-z]+/(?:config\.json|model\.safetensors)"  # the steps of sentence-transformers, such as 1_Pooling
)
OTHER_FORM = re.compile(r"consolidated|adapter_", re.IGNORECASE)
SPELLINGS = {"FP16": "F16", "FP32": "F32", "MXFP4": "MXFP4_MOE"}
# Bits per weight, measured on Llama 3.1 8B with llama.cpp's `quantize` (tools/quantize/README.md); MXFP4 on gpt-oss.
# fmt: off
BITS_PER_WEIGHT = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q8_K": 8.5, "Q6_K": 6.563, "Q5_K": 5.704,
    "Q5_K_M": 5.704, "Q5_K_S": 5.57, "Q5_1": 6.0, "Q5_0": 5.6, "Q4_K_M": 4.894, "Q4_K": 4.894, "Q4_1": 5.1,
    "IQ4_NL": 4.682, "Q4_K_S": 4.667, "Q4_0": 4.6, "NVFP4": 4.6, "IQ4_XS": 4.46, "MXFP4_MOE": 4.3,
    "Q3_K_L": 4.298, "Q3_K_M": 3.996, "Q3_K": 3.996, "IQ3_M": 3.763, "IQ3_S": 3.661, "Q3_K_S": 3.643,
    "IQ3_XS": 3.498, "IQ3_XXS": 3.255, "Q2_K": 3.159, "Q2_K_S": 3.0, "IQ2_M": 2.929, "IQ2_S": 2.74,
    "IQ2_XS": 2.588, "IQ2_XXS": 2.382, "IQ1_M": 2.146, "TQ2_0": 2.4, "IQ1_S": 2.004, "TQ1_0": 2.0,
}
# fmt: on


@dataclass(frozen=True)
class RepoFile:
    """A file of a repository, by its path there. `sha256` is hexadecimal, empty if unknown."""

    path: str
    size_bytes: int
    sha256: str = ""


@dataclass(frozen=True)
class Variant:
    """One variant of a model. `files` are its shards in order, or a single file.

    `label` is such as "Q4_K_M" or "UD-Q4_K_XL"; UNKNOWN if the names do not contain one.
    """

    label: str
    files: tuple[RepoFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def quantization(self) -> str:
        """The label without a publisher's prefix.

        >>> Variant("UD-Q4_K_XL", ()).quantization
        'Q4_K_XL'
        """
        return self.label.removeprefix("UD-")


def quantization_of(path: str) -> str | None:
    """The quantization in the name of a file, else in that of its folder.

    >>> quantization_of("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf"), quantization_of("Q8_0/model.gguf")
    ('Q4_K_M', 'Q8_0')
    >>> quantization_of("Qwen3-30B-A3B-UD-Q4_K_XL.gguf"), quantization_of("gpt-oss-20b-mxfp4.gguf")
    ('UD-Q4_K_XL', 'MXFP4_MOE')
    """
    place = PurePosixPath(path)
    for text in (_stem(place), place.parent.name):
        if matches := list(QUANTIZATION.finditer(text)):
            name = matches[-1]["name"].upper()
            prefix = (matches[-1]["prefix"] or "").upper()
            return ("UD-" if prefix == "UD-" else "") + SPELLINGS.get(name, name)
    return None


def bits_per_weight(label: str) -> float | None:
    """The approximate bits per weight of a label; None if it is unknown.

    >>> bits_per_weight("Q4_K_M"), bits_per_weight("UD-Q4_K_XL")
    (4.894, 4.894)
    """
    name = label.removeprefix("UD-")
    for candidate in (name, re.sub(r"_(XXL|XL|L)$", "_M", name), re.sub(r"_(XXL|XL|L|M|S)$", "", name)):
        if candidate in BITS_PER_WEIGHT:
            return BITS_PER_WEIGHT[candidate]
    return None


def variants(files: Iterable[RepoFile]) -> tuple[Variant, ...]:
    """The models among `files`, largest first. Models with missing shards are left out."""
    groups: dict[str, list[RepoFile]] = {}
    for file in files:
        place = PurePosixPath(file.path)
        if place.suffix.lower() == ".gguf" and not NO_MODEL.search(file.path):
            groups.setdefault(f"{place.parent}/{_stem(place)}", []).append(file)
    complete = [
        Variant(quantization_of(group[0].path) or UNKNOWN, tuple(sorted(group, key=lambda file: file.path)))
        for group in groups.values()
        if _is_complete(group)
    ]
    return tuple(sorted(complete, key=lambda variant: variant.size_bytes, reverse=True))


def named(variants: Sequence[Variant], quantization: str) -> Variant | None:
    """The variant with that label or file name, ignoring case."""
    labels = {quantization.casefold(), SPELLINGS.get(quantization.upper(), "").casefold()}

    def has_file(variant: Variant) -> bool:
        return any(PurePosixPath(file.path).name.casefold() in labels for file in variant.files)

    by_label = [variant for variant in variants if variant.label.casefold() in labels]
    by_file = [variant for variant in variants if has_file(variant)]
    prefixed = [variant for variant in variants if variant.quantization.casefold() in labels]
    return next(iter([*by_label, *by_file, *prefixed]), None)


def projector_of(files: Iterable[RepoFile], variant: Variant) -> RepoFile | None:
    """The vision projector for a variant: in its folder, else at the top, with the closest bits per weight."""
    folders = [str(PurePosixPath(variant.files[0].path).parent), "."]
    eyes = [file for file in files if file.path.lower().endswith(".gguf") and PROJECTOR.search(file.path)]
    bits = bits_per_weight(variant.label) or 16.0
    for folder in folders:
        if near := [file for file in eyes if str(PurePosixPath(file.path).parent) == folder]:
            return min(near, key=lambda file: abs((bits_per_weight(quantization_of(file.path) or "") or 16.0) - bits))
    return None


def folder_files(files: Iterable[RepoFile]) -> tuple[RepoFile, ...]:
    """The files that engines need of a safetensors repository: weights, configuration, tokenizer, template.

    Empty without safetensors. Takes only files at the top and the steps of sentence-transformers, no code, and no
    `consolidated` files, which hold the same weights in the author's own format.
    """
    needed = tuple(file for file in files if FOLDER_FILE.fullmatch(file.path) and not OTHER_FORM.match(file.path))
    return needed if any("/" not in file.path and file.path.endswith(".safetensors") for file in needed) else ()


def _stem(place: PurePosixPath) -> str:
    """The name without suffix and shard number."""
    shard = SHARD.fullmatch(place.stem)
    return shard["stem"] if shard else place.stem


def _is_complete(group: Sequence[RepoFile]) -> bool:
    shards = [SHARD.fullmatch(PurePosixPath(file.path).stem) for file in group]
    counts = {int(shard["count"]) if shard else 1 for shard in shards}
    numbers = {int(shard["number"]) if shard else 1 for shard in shards}
    return counts == {len(group)} and numbers == set(range(1, len(group) + 1))
