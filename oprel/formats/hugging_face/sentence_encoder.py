"""How an embedding model in Hugging Face's layout makes one vector of a text, treated as untrusted input.

Sources: the files that sentence-transformers writes: `modules.json` lists the steps, `1_Pooling/config.json` the
pooling, `config_sentence_transformers.json` the prompts, `sentence_bert_config.json` the longest text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from oprel.formats.templates.prompts import Prompts
from oprel.formats.untrusted_json import Json, parse_object, read_bytes, read_object

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
LENGTHS = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json")
# sentence-transformers' name of a pooling -> llama.cpp's.
POOLINGS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
POOLING_TYPES = {"mean": 1, "cls": 2, "last": 3}  # in GGUF
OLD_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
}
OTHER_POOLINGS = ("pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")
USUAL_STEPS = frozenset(("Transformer", "Pooling", "Normalize"))
MAX_PROMPTS, LONGEST_PROMPT = 64, 2000


@dataclass(frozen=True, kw_only=True)
class SentenceEncoder:
    """`pooling` is "mean", "cls" or "last", as llama.cpp calls them; `max_tokens` the length at which texts are cut.

    `further` names what the files ask for beyond a transformer, one such pooling and a scaling to length 1.
    """

    pooling: str = "mean"
    normalised: bool = True
    prompts: Prompts = field(default_factory=Prompts)
    max_tokens: int | None = None
    further: tuple[str, ...] = ()


def read_sentence_encoder(folder: Path) -> SentenceEncoder:
    """Without these files, what sentence-transformers itself assumes: the mean. Raises InvalidModelError."""
    steps = dict(_steps(folder))
    if not steps:
        return SentenceEncoder(prompts=_prompts(folder), max_tokens=_max_tokens(folder))
    pooling, further = _pooling(folder, steps.get("Pooling", ""))
    unknown = tuple(f"a step {name!r}" for name in steps if name not in USUAL_STEPS)
    return SentenceEncoder(
        pooling=pooling,
        normalised="Normalize" in steps,
        prompts=_prompts(folder),
        max_tokens=_max_tokens(folder),
        further=(*further, *unknown),
    )


def _steps(folder: Path) -> Iterator[tuple[str, str]]:
    """The kind of each step, and its folder."""
    path = folder / MODULES
    if not path.is_file():
        return
    listed = parse_object(b'{"steps":' + read_bytes(path) + b"}", path).get("steps")
    for step in listed if isinstance(listed, list) else ():
        match step:
            case {"type": str(kind), "path": str(place)}:
                yield kind.rpartition(".")[2], place


def _pooling(folder: Path, place: str) -> tuple[str, tuple[str, ...]]:
    """The pooling, and what there is beside it."""
    is_inside = place and ".." not in PurePosixPath(place).parts and not PurePosixPath(place).is_absolute()
    path = folder / place / "config.json"
    config = read_object(path) if is_inside and path.is_file() else {}
    named = config.get("pooling_mode")
    modes = (
        [named] if isinstance(named, str) else [mode for key, mode in OLD_POOLINGS.items() if config.get(key) is True]
    )
    others = [key for key in OTHER_POOLINGS if config.get(key) is True]
    further = tuple(f"the pooling {mode!r}" for mode in (*(mode for mode in modes if mode not in POOLINGS), *others))
    if len(modes) > 1:
        further = (*further, f"{len(modes)} poolings")
    return next((POOLINGS[mode] for mode in modes if mode in POOLINGS), "mean"), further


def _prompts(folder: Path) -> Prompts:
    path = folder / PROMPTS
    config = read_object(path) if path.is_file() else {}
    texts, default = config.get("prompts"), config.get("default_prompt_name")
    return Prompts(_texts(texts if isinstance(texts, dict) else {}), default if isinstance(default, str) else "")


def _texts(texts: Mapping[str, Json]) -> dict[str, str]:
    some = list(texts.items())[:MAX_PROMPTS]
    return {name: text for name, text in some if isinstance(text, str) and len(text) <= LONGEST_PROMPT}


def _max_tokens(folder: Path) -> int | None:
    """The length that the model was made for, else that of its tokenizer."""
    for name, key in (*((name, "max_seq_length") for name in LENGTHS), ("tokenizer_config.json", "model_max_length")):
        value = read_object(folder / name).get(key) if (folder / name).is_file() else None
        if type(value) is int and 2 < value < 2**31:
            return value
    return None
