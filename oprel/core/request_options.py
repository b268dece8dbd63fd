"""The options of a request, each declared once: name, type, default, bounds, meaning and other names. Pure.

`Sampling` and `LoadOptions` are the table: a field is a row, its type and default are the option's, and `option` holds
the rest. From `OPTIONS` derive the daemon's decoding, the engines' names, `Options` and the arguments of `Model` in
Python, `/set parameter`, `--option`, and PARAMETER in a Modelfile. To add an option, add a field here and, for type
checkers, one to `oprel.client.types.Options`; a test compares the two.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import Enum
from typing import Any

from oprel.core.exceptions import ValidationError

LARGEST = 2**53  # what JSON numbers hold exactly everywhere
LARGEST_SEED = 2**64  # above the largest integer of JSON that can be passed on; clients round it up to a float
LARGEST_INTEGER = 2**31 - 1  # the largest integer of an engine: a larger one would wrap around
INT32 = (-LARGEST_INTEGER, LARGEST_INTEGER)
SEEDS = 2**32 - 1  # seeds of an engine; the number after the last one means a random seed
SMALLEST_BATCH = 32  # a batch of fewer tokens than parallel requests would abort the engine

OptionValue = bool | int | float | tuple[str, ...]

# The load options of which more serves less.
SIZES = ("num_ctx", "num_batch", "num_gpu", "num_thread")


def option(
    default: object,
    meaning: str,
    *,
    engine_name: str = "",
    other_names: tuple[str, ...] = (),
    minimum: int | None = None,
    raised_to: int | None = None,
    unset_to: int | None = None,
    clamped_to: tuple[int, int] = INT32,
    is_folded: bool = False,
    in_openai: bool = False,
    is_for_engines: bool = True,
) -> Any:
    """A row of the table; see `RequestOption`. Returns `Any`, like dataclasses.field itself."""
    columns = {
        "meaning": meaning,
        "engine_name": engine_name,
        "other_names": other_names,
        "minimum": minimum,
        "raised_to": minimum if raised_to is None else raised_to,
        "unset_to": unset_to,
        "clamped_to": clamped_to,
        "is_folded": is_folded,
        "in_openai": in_openai,
        "is_for_engines": is_for_engines,
    }
    return field(default=default, metadata=columns)


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Options of one request, under Ollama's names; None = the engine's or the model's default."""

    temperature: float | None = option(0.8, "randomness; 0 always takes the likeliest token", in_openai=True)
    top_k: int | None = option(40, "choose among this many of the likeliest tokens; 0 = all")
    top_p: float | None = option(0.9, "choose among the likeliest tokens up to this total", in_openai=True)
    min_p: float | None = option(0.0, "lowest probability, relative to the likeliest token")
    typical_p: float | None = option(None, "choose among tokens of typical probability; 1 = off")
    repeat_last_n: int | None = option(
        None,
        "how far repeat_penalty looks back; 0 = off, -1 = all",
        clamped_to=(-LARGEST_INTEGER, 2**20),  # the engine allocates memory for each of them
    )
    repeat_penalty: float | None = option(None, "penalty of repeated tokens; 1 = none")
    presence_penalty: float | None = option(None, "penalty of tokens that occurred; 0 = none", in_openai=True)
    frequency_penalty: float | None = option(None, "penalty per occurrence of a token; 0 = none", in_openai=True)
    seed: int | None = option(None, "equal seeds repeat an answer; -1 = random", is_folded=True, in_openai=True)
    num_predict: int | None = option(
        None,
        "longest answer in tokens; -1 = no limit",
        engine_name="max_tokens",
        other_names=("n_predict", "max_tokens"),
        in_openai=True,
    )
    num_keep: int | None = option(
        None, "first tokens to keep when the context is full", engine_name="n_keep", other_names=("n_keep",)
    )
    stop: tuple[str, ...] = option((), "texts that end the answer", in_openai=True)
    ignore_eos: bool | None = option(None, "go on after the model's own end, up to num_predict")
    runaway_guard: bool | None = option(None, "end an answer that repeats itself without end", is_for_engines=False)


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Options that an engine is started with; None = the configured one, or the planned one if none is configured."""

    num_ctx: int | None = option(
        None,
        "context length in tokens",
        other_names=("ctx_size", "n_ctx"),
        minimum=4,
        raised_to=256,  # what llama.cpp's engine makes of Ollama's least, 4, which would hold no prompt
        unset_to=0,
    )
    num_batch: int | None = option(
        None, "prompt tokens per batch", other_names=("n_batch", "batch_size"), minimum=SMALLEST_BATCH, unset_to=0
    )
    num_gpu: int | None = option(None, "layers on the GPU; 0 = none", other_names=("n_gpu_layers",), unset_to=-1)
    main_gpu: int | None = option(None, "number of the main GPU", unset_to=-1)
    num_thread: int | None = option(None, "CPU threads", other_names=("n_threads",), unset_to=0)
    use_mmap: bool | None = option(None, "map the model's file into memory instead of reading it")

    def completed(self, defaults: "LoadOptions") -> "LoadOptions":
        """With the values of `defaults` where this has none."""
        values = vars(self).items()
        return LoadOptions(**{name: getattr(defaults, name) if value is None else value for name, value in values})

    def served_by(self, running: "LoadOptions") -> bool:
        """Whether an engine started with `running` can serve this. Both are completed by the planned options.

        A larger engine serves smaller requests, so that two clients with different options do not replace each other's
        engine again and again.
        """
        return all(self._is_served(entry.name, running) for entry in fields(self))

    def _is_served(self, name: str, running: "LoadOptions") -> bool:
        wanted, actual = getattr(self, name), getattr(running, name)
        if wanted is None or wanted == actual:
            return True
        return name in SIZES and actual is not None and wanted < actual


class OptionType(Enum):
    """The value is how the daemon names the type in an error; these are Ollama's words."""

    INTEGER = "type integer"
    FLOAT = "type float32"
    BOOLEAN = "type boolean"
    TEXTS = "an array of strings"


TYPES = {
    int | None: OptionType.INTEGER,
    float | None: OptionType.FLOAT,
    bool | None: OptionType.BOOLEAN,
    tuple[str, ...]: OptionType.TEXTS,
}


@dataclass(frozen=True, kw_only=True)
class RequestOption:
    """One option.

    `engine_name` is llama-server's, for options of a request. A value up to `unset_to` means that the option is not
    set; a smaller one than `minimum` becomes `raised_to`. Other integers are clamped to `clamped_to`, or, if
    `is_folded`, mapped to a seed that an engine has. `in_openai`: it is in OpenAI's API, so that every engine has it.
    `other_names` are those of llama.cpp and of the first `oprel` package, which `Model` takes too. Without
    `is_for_engines` oprel itself applies it.
    """

    name: str
    type: OptionType
    for_loading: bool
    meaning: str
    engine_name: str
    other_names: tuple[str, ...]
    minimum: int | None
    raised_to: int | None
    unset_to: int | None
    clamped_to: tuple[int, int]
    is_folded: bool
    in_openai: bool
    is_for_engines: bool

    def number(self, value: float) -> int | float | None:
        """A finite number as an engine takes it; None if it means that the option is not set.

        >>> [find_option("num_ctx").number(value) for value in (0, 2, 8192)]
        [None, 256, 8192]
        """
        if self.type is OptionType.FLOAT:
            return float(value)
        if self.unset_to is not None and value <= self.unset_to:
            return None
        if self.is_folded:
            return folded_seed(int(value))
        if self.minimum is not None and value < self.minimum:
            return self.raised_to
        lowest, highest = self.clamped_to
        return max(lowest, min(int(value), highest))


def folded_seed(seed: int) -> int:
    """The seed of an engine, which has 32 bits, for one of 64; -1, a random one, for every negative number.

    >>> folded_seed(42), folded_seed(2**40 + 42), folded_seed(-1)
    (42, 298, -1)
    """
    return -1 if seed < 0 else seed % SEEDS


def _rows(kind: type[Sampling | LoadOptions]) -> Iterator[RequestOption]:
    for entry in fields(kind):
        columns = {**entry.metadata, "engine_name": entry.metadata["engine_name"] or entry.name}
        # `entry.type` is a type and no text: this module does not postpone annotations.
        yield RequestOption(
            name=entry.name,
            type=TYPES[entry.type],  # type: ignore[index]
            for_loading=kind is LoadOptions,
            **columns,
        )


OPTIONS: Mapping[str, RequestOption] = {row.name: row for kind in (Sampling, LoadOptions) for row in _rows(kind)}
SAMPLING_OPTIONS = tuple(row for row in OPTIONS.values() if not row.for_loading)
ALL_NAMES: Mapping[str, str] = {alias: row.name for row in OPTIONS.values() for alias in (row.name, *row.other_names)}

# Options of Ollama, some of its older releases only, that no engine here has: accepted over HTTP, and ignored.
UNSUPPORTED = frozenset(
    (
        *("draft_num_predict", "mirostat", "mirostat_eta", "mirostat_tau", "tfs_z", "penalize_newline"),
        *("numa", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "embedding_only"),
        *("num_gqa", "rope_frequency_base", "rope_frequency_scale"),
    )
)


def find_option(name: str) -> RequestOption:
    """The option called `name`. Raises ValidationError that names the nearest one.

    >>> find_option("top_k").meaning
    'choose among this many of the likeliest tokens; 0 = all'
    """
    if name in OPTIONS:
        return OPTIONS[name]
    if name in UNSUPPORTED:
        raise ValidationError(
            f"option {name!r} is not supported: Ollama has it, oprel's engines do not", "Leave it out."
        )
    if nearest := nearest_option(name):
        raise ValidationError(f"unknown option {name!r}; did you mean {nearest!r}?")
    raise ValidationError(f"unknown option {name!r}", f"The options are {', '.join(sorted(OPTIONS))}.")


def option_named(name: str) -> RequestOption:
    """The option that has `name` as its own or another name. Raises ValidationError as `find_option` does.

    >>> option_named("n_gpu_layers").name
    'num_gpu'
    """
    return find_option(ALL_NAMES.get(name, name))


def nearest_option(name: str) -> str | None:
    """Ollama's name of the option that is spelled most like `name`.

    >>> nearest_option("temprature"), nearest_option("ctx_size"), nearest_option("colour")
    ('temperature', 'num_ctx', None)
    """
    return next((ALL_NAMES[near] for near in get_close_matches(name.lower(), ALL_NAMES, n=1)), None)


def value_of(option: RequestOption, value: object) -> OptionValue | None:
    """A value of a request in the option's type and bounds; None if it sets nothing. Raises ValidationError."""
    match option.type:
        case OptionType.TEXTS:
            if value == "":
                return None
            texts = [value] if isinstance(value, str) else value
            if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
                return tuple(text for text in texts if text)  # an empty one stops nothing
        case OptionType.BOOLEAN:
            if isinstance(value, bool):
                return value
        case _:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return _number(option, value)
    raise ValidationError(f'option "{option.name}" must be of {option.type.value}')


def _number(option: RequestOption, value: float) -> int | float | None:
    largest = LARGEST_SEED if option.is_folded else LARGEST
    if not -largest <= value <= largest:  # excludes infinities and NaN too
        raise ValidationError(f'option "{option.name}" is out of range')
    return option.number(value)
