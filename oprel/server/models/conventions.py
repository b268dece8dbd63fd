"""What holds for a model's answers where a request does not say: its parameters, their sources, and its stops."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

from oprel.core.models.modelfile import Parameter
from oprel.formats.gguf import GGUFFile, Value
from oprel.formats.headers.other_header import OtherHeader
from oprel.formats.headers.token_texts import declared_ends
from oprel.formats.templates.families import Family, family_of
from oprel.formats.templates.plain_frame import CHATML_STOPS, FRAME_STOPS

# The sampling parameters in a GGUF's metadata -> the names of Ollama's options. The headers of folders have them from
# Hugging Face's `generation_config.json`.
METADATA_NAMES = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_last_n": "repeat_last_n",
    "penalty_repeat": "repeat_penalty",
}
INTEGERS = ("top_k", "repeat_last_n")
LARGEST = 10**6


@dataclass(frozen=True)
class Default:
    """`source`: "Modelfile", "file", or "family NAME"."""

    value: Parameter
    source: str


@dataclass(frozen=True)
class Conventions:
    """`modelfile` are the parameters of the Modelfile. Without a `template` the engine assumes ChatML."""

    modelfile: Mapping[str, Parameter]
    header: GGUFFile
    template: str | None
    _: KW_ONLY
    is_base: bool = False

    @property
    def family(self) -> Family | None:
        """The family of the chat template, if that is known."""
        is_framed = self.is_base or self.template is None or self.header.pooling_type is not None
        return None if is_framed else family_of(self.template or "", self.header.architecture)

    @cached_property
    def defaults(self) -> dict[str, Default]:
        """The parameters of requests that set none: the Modelfile's, else the file's own, else the family's."""
        return {
            **self._of_family(),
            **{name: Default(value, "file") for name, value in _of_metadata(self.header.metadata)},
            **{name: Default(value, "Modelfile") for name, value in self.modelfile.items()},
        }

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The values of `defaults`."""
        return {name: default.value for name, default in self.defaults.items()}

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """Texts that end each answer in a chat, whatever the stops of the request are."""
        if self.is_base:
            return FRAME_STOPS
        return CHATML_STOPS if self.template is None else self._undeclared_ends

    @property
    def _undeclared_ends(self) -> tuple[str, ...]:
        """What ends a turn in the family, as far as the file does not say so itself. Engines read that of folders."""
        ends = self.family.ends if self.family else ()
        if not ends or isinstance(self.header, OtherHeader):
            return ()
        declared = declared_ends(self.header)
        return tuple(end for end in ends if end not in declared)

    def _of_family(self) -> dict[str, Default]:
        if (family := self.family) is None:
            return {}
        stops = list(dict.fromkeys((*family.stops, *self._undeclared_ends)))
        values = {**({"stop": stops} if stops else {}), **family.parameters}
        return {name: Default(value, f"family {family.name}") for name, value in values.items()}


def _of_metadata(metadata: Mapping[str, Value]) -> Iterator[tuple[str, Parameter]]:
    """The usable sampling parameters of a file, which is untrusted."""
    for key, name in METADATA_NAMES.items():
        value = metadata.get(f"general.sampling.{key}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if math.isfinite(value) and -1 <= value <= LARGEST:
            yield name, int(value) if name in INTEGERS else value
