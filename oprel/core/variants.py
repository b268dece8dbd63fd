"""Groups the files of a repository into variants of one model, by quantization. Pure.

Rules and names follow llama.cpp's own downloader (common/download.cpp) and the file names of common publishers, such
as `X-q4_k_m-00001-of-00002.gguf`, `X.i1-Q4_K_M.gguf`, `UD-Q2_K_XL/X-UD-Q2_K_XL-00001-of-00005.gguf`.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

UNKNOWN = "unknown"
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
PROJECTOR = re.compile(r"mmproj|(?:^|/)(?:projectors?|vision)/", re.IGNORECASE)
IMPORTANCE_MATRIX = re.compile(r"imatrix", re.IGNORECASE)
# Draft models: by their first word, or by a folder of their own. Within a name, `mtp` is a model with its draft head.
DRAFT = re.compile(r"(?:^|/)(?:mtp|draft)[-_./]|(?:^|[-_./])(?:eagle3|dflash|dspark)-", re.IGNORECASE)
QUANTIZATION = re.compile(
    r"(?:^|[-._/ ])(?P<prefix>UD-|i1-)?"
    r"(?P<name>IQ[1-5]_(?:XXS|XS|NL|K[STL]*|S|M)|Q[2-8]_K(?:_(?:XXL|XL|S|M|L))?|Q4_0_[48]_[48]|Q[1-8]_[01]|TQ[12]_0"
    r"|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)(?:_R\d+)?(?=$|[-. ]|_I?Q\d)",
    re.IGNORECASE,
)
# A publisher's own, such as Q4_K_P, Q8 and Q4_K_M_v2.
OWN_QUANTIZATION = re.compile(r"(?:^|[-._/ ])(?P<name>I?Q[1-8](?:_[0-9A-Z]{1,3})*)(?!\.\d)(?=$|[-._ ])", re.IGNORECASE)
NOT_QUANTIZED = ("F16", "BF16", "F32")
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
        """The label without a publisher's prefix, or the type of the output.

        >>> Variant("UD-Q4_K_XL", ()).quantization, Variant("BF16-Q8_0", ()).quantization
        ('Q4_K_XL', 'Q8_0')
        """
        return re.sub(r"^(?:UD|B?F16|F32)-", "", self.label)

    @property
    def stem(self) -> str:
        """The name of its files, without folder, suffix and shard number; "" without files."""
        return _stem(PurePosixPath(self.files[0].path)) if self.files else ""

    def name_ends_in(self, ending: str) -> bool:
        """Whether its name, or that of its folder, ends in these words, ignoring case."""
        names = (self.stem, PurePosixPath(self.files[0].path).parent.name) if self.files else ()
        whole, parts = _folded(ending), tuple(f"{sign}{_folded(ending)}" for sign in "-. ")
        return any(name == whole or name.endswith(parts) for name in map(_folded, names))

    def has_file(self, name: str) -> bool:
        """Whether it has a file of that path or name, ignoring case."""
        paths = {_folded(file.path) for file in self.files}
        return _folded(name) in paths | {path.rpartition("/")[2] for path in paths}


def quantization_of(path: str) -> str | None:
    """The quantization in the name of a file, else in that of its folder.

    >>> quantization_of("qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf"), quantization_of("Q8_0/model.gguf")
    ('Q4_K_M', 'Q8_0')
    >>> quantization_of("Qwen3-30B-A3B-UD-Q4_K_XL.gguf"), quantization_of("gpt-oss-20b-mxfp4.gguf")
    ('UD-Q4_K_XL', 'MXFP4_MOE')
    """
    place = PurePosixPath(path)
    for text in (_stem(place), place.parent.name):
        if label := _label(text):
            return label
    return None


def _label(text: str) -> str | None:
    """The last quantization in the text. A type that is not quantized, as of the output, is only part of it before it.

    >>> _label("X-q4_k_m-f32"), _label("X-bf16_q8_0"), _label("X.f16.q6_k"), _label("X-f16")
    ('Q4_K_M', 'BF16-Q8_0', 'F16-Q6_K', 'F16')
    """
    labels = [_of_match(match) for match in QUANTIZATION.finditer(text)]
    end = max((match.end() for match in QUANTIZATION.finditer(text)), default=1)
    own = [match["name"].upper() for match in OWN_QUANTIZATION.finditer(text, end - 1)]
    quantized = [number for number, label in enumerate(labels) if label not in NOT_QUANTIZED]
    if not quantized and own:
        labels, quantized = [*labels, own[-1]], [len(labels)]
    if not quantized:
        return labels[-1] if labels else None
    label, before = labels[quantized[-1]], labels[quantized[-1] - 1] if quantized[-1] else ""
    return f"{before}-{label}" if before in NOT_QUANTIZED else label


def _of_match(match: re.Match[str]) -> str:
    name = match["name"].upper()
    return ("UD-" if (match["prefix"] or "").upper() == "UD-" else "") + SPELLINGS.get(name, name)


def is_model(path: str) -> bool:
    """Whether the name of a GGUF file is that of a model, not of a projector, importance matrix or draft model.

    >>> is_model("Orn-9B-MTP-IQ4_XS.gguf"), is_model("mtp-Orn-9B-Q8_0.gguf"), is_model("MTP/Orn-9B-Q8_0.gguf")
    (True, False, False)
    >>> is_model("Orn-9B-iMatrix-Q4_K_M.gguf"), is_model("Orn-9B.imatrix.gguf"), is_model("Orn-9B-F16-imatrix.gguf")
    (True, False, False)
    """
    if PROJECTOR.search(path) or DRAFT.search(path):
        return False
    # A model that was quantized with the help of a matrix may say so; the matrix itself may name what it was made from.
    return not IMPORTANCE_MATRIX.search(path) or quantization_of(path) not in (None, *NOT_QUANTIZED)


def bits_per_weight(label: str) -> float | None:
    """The approximate bits per weight of a label; None if it is unknown.

    >>> bits_per_weight("Q4_K_M"), bits_per_weight("UD-Q4_K_XL")
    (4.894, 4.894)
    """
    name = Variant(label, ()).quantization
    larger = re.sub(r"_(XXL|XL|L|P)$", "_M", name)
    for candidate in (name, larger, re.sub(r"_(XXL|XL|L|M|S|P)$", "", name), f"{name}_0"):
        if candidate in BITS_PER_WEIGHT:
            return BITS_PER_WEIGHT[candidate]
    return None


def variants(files: Iterable[RepoFile]) -> tuple[Variant, ...]:
    """The models among `files`, largest first. Models with missing shards are left out.

    If the names speak of projectors, matrices and drafts only, all but projectors count: a name is only a hint.
    """
    weights = [file for file in files if is_gguf(file.path)]
    models = [file for file in weights if is_model(file.path)]
    return _grouped(models or [file for file in weights if not PROJECTOR.search(file.path)])


def other_variants(files: Iterable[RepoFile]) -> tuple[Variant, ...]:
    """The files that `variants` leaves out for their names: projectors, matrices and drafts, or so the names say."""
    files = tuple(files)
    models = {file.path for variant in variants(files) for file in variant.files}
    return _grouped(file for file in files if is_gguf(file.path) and file.path not in models)


def is_gguf(path: str) -> bool:
    return path.lower().endswith(".gguf")


def _grouped(files: Iterable[RepoFile]) -> tuple[Variant, ...]:
    groups: dict[str, list[RepoFile]] = {}
    for file in files:
        groups.setdefault(_whole(file.path), []).append(file)
    complete = {
        name: sorted(group, key=lambda file: file.path) for name, group in groups.items() if _is_complete(group)
    }
    labels = _labels(list(complete))
    grouped = [Variant(labels[name], tuple(group)) for name, group in complete.items()]
    return tuple(sorted(grouped, key=lambda variant: variant.size_bytes, reverse=True))


def named(variants: Sequence[Variant], name: str) -> Variant | None:
    """The variant with that label, file name, or ending of a file's name, ignoring case; None if several have it."""
    matching = all_named(variants, name)
    return matching[0] if len({variant.stem for variant in matching}) == 1 else None


def all_named(variants: Sequence[Variant], name: str) -> Sequence[Variant]:
    """The variants that this names by the first rule that any follows.

    The rules: a label that the file's name ends in, a label, a file, a label without a publisher's prefix, an ending.
    """
    wanted = {_folded(name), _folded(SPELLINGS.get(name.upper(), ""))} - {""}
    rules: tuple[Callable[[Variant], bool], ...] = (
        lambda variant: _folded(variant.label) in wanted and any(map(variant.name_ends_in, wanted)),
        lambda variant: _folded(variant.label) in wanted,
        lambda variant: variant.has_file(name),
        lambda variant: _folded(variant.quantization) in wanted,
        lambda variant: any(map(variant.name_ends_in, wanted)),
    )
    matches = ([variant for variant in variants if rule(variant)] for rule in rules)
    return next((matching for matching in matches if matching), ())


def _folded(name: str) -> str:
    """The name without case, and with letters and their accents in one spelling: keyboards and disks differ."""
    return unicodedata.normalize("NFC", name).casefold()


def projector_of(files: Iterable[RepoFile], variant: Variant) -> RepoFile | None:
    """The vision projector for a variant, as far as names tell: the first of `projectors_for`."""
    return next(iter(projectors_for(files, variant)), None)


def projectors_for(files: Iterable[RepoFile], variant: Variant) -> tuple[RepoFile, ...]:
    """The vision projectors, the likeliest first: those in the variant's folder, then at the top, then others.

    Of several, those whose name has most words of the variant's, then those with the closest bits per weight. F16
    comes before BF16, which many CPUs do not compute with.
    """
    bits, words = bits_per_weight(variant.label) or 16.0, _words(variant.files[0].path)
    folders = (PurePosixPath(variant.files[0].path).parent, PurePosixPath("."))

    def order(file: RepoFile) -> tuple[int, int, float, bool]:
        label, folder = quantization_of(file.path) or "", PurePosixPath(file.path).parent
        distance = folders.index(folder) if folder in folders else len(folders)
        return distance, -len(words & _words(file.path)), abs((bits_per_weight(label) or 16.0) - bits), label != "F16"

    return tuple(sorted((file for file in files if is_gguf(file.path) and PROJECTOR.search(file.path)), key=order))


def are_of_one_model(files: Iterable[RepoFile]) -> bool:
    """Whether the names of these files differ in their quantization at most."""
    return len({frozenset(_words(file.path)) for file in files}) < 2


def folder_files(files: Iterable[RepoFile]) -> tuple[RepoFile, ...]:
    """The files that engines need of a safetensors repository: weights, configuration, tokenizer, template.

    Empty without safetensors. Takes only files at the top and the steps of sentence-transformers, no code, and no
    `consolidated` files, which hold the same weights in the author's own format.
    """
    needed = tuple(file for file in files if FOLDER_FILE.fullmatch(file.path) and not OTHER_FORM.match(file.path))
    return needed if any("/" not in file.path and file.path.endswith(".safetensors") for file in needed) else ()


def _labels(names: Sequence[str]) -> dict[str, str]:
    """The label of each model: its quantization, else that in which its name differs from the others without one."""
    labels = {name: quantization_of(f"{name}.gguf") or UNKNOWN for name in names}
    others = {name: re.split(r"([-._/])", name) for name in names if labels[name] == UNKNOWN}
    if len(others) > 1:
        before = len(os.path.commonprefix(list(others.values())))
        after = len(os.path.commonprefix([words[before:][::-1] for words in others.values()]))
        for name, words in others.items():
            labels[name] = "".join(words[before : len(words) - after]).strip("-._/") or UNKNOWN
    return labels


def _words(path: str) -> set[str]:
    """The words of a file's name, without its quantization."""
    return set(re.split(r"[-._]", QUANTIZATION.sub("", _stem(PurePosixPath(path))).casefold()))


def _whole(path: str) -> str:
    """The path of a model without suffix and shard number."""
    place = PurePosixPath(path)
    return str(place.with_name(_stem(place)))


def _stem(place: PurePosixPath) -> str:
    """The name without suffix and shard number."""
    shard = SHARD.fullmatch(place.stem)
    return shard["stem"] if shard else place.stem


def _is_complete(group: Sequence[RepoFile]) -> bool:
    shards = [SHARD.fullmatch(PurePosixPath(file.path).stem) for file in group]
    counts = {int(shard["count"]) if shard else 1 for shard in shards}
    numbers = {int(shard["number"]) if shard else 1 for shard in shards}
    return counts == {len(group)} and numbers == set(range(1, len(group) + 1))
