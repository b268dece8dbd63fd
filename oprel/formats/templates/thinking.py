"""Which templates are of models that think, how these are switched, which levels they know, how they mark thoughts.

The tables hold what families differ in. A template is matched by the variables that it reads, the words that it
compares them with, and the marks in it. Pure.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from oprel.formats.templates.template_names import TemplateNames, names_of

Think = bool | str | None
Variables = Mapping[str, JsonValue]

# Clients' levels, in order; several have the same rank.
RANKS = {"minimal": 0, "low": 1, "medium": 2, "high": 3, "xhigh": 4, "max": 5, "ultra": 5}

# Variables that switch thoughts on and off, with the values for both.
SWITCHES: Mapping[str, tuple[JsonValue, JsonValue]] = {
    "enable_thinking": (True, False),  # Qwen, GLM, Gemma 4, Nemotron 3 and most others
    "thinking": (True, False),  # DeepSeek V3.1 to V4, Granite 3, Kimi K3
    "reasoning": (True, False),  # Cohere North
    "thinking_budget": (-1, 0),  # Seed-OSS
}
MODES = ("thinking_mode", "reasoning_mode")  # MiniMax M3; they take one of the next words, whichever the template has
ON_WORDS = ("enabled", "on", "think", "thinking")
OFF_WORDS = ("disabled", "off", "none", "no_think", "nothink", "no_thinking")

# Variables that take a level: gpt-oss, Hy3, Solar, Step 3.7, DeepSeek V4; Kimi K3.
EFFORTS = ("reasoning_effort", "reasoning_strength", "thinking_effort")
USUAL_LEVELS = ("low", "medium", "high")  # of a template that names none, or writes any into the prompt
# Variables that mean a level without taking its name: Seed-OSS in tokens, Nemotron Super.
OTHER_EFFORTS: Mapping[str, Mapping[str, JsonValue]] = {
    "thinking_budget": {"low": 1024, "medium": 4096, "high": 16384, "max": -1},
    "low_effort": {"low": True, "high": False},
}
# Words in the system message: on and off. Of templates without a variable for it: Nemotron Nano 2, Llama-Nemotron.
SYSTEM_WORDS = (("/think", "/no_think"), ("detailed thinking on", "detailed thinking off"))
FIELDS = frozenset(("reasoning_content", "reasoning", "thinking", "thoughts"))  # of messages


@dataclass(frozen=True)
class Marks:
    """What stands in front of a thought and behind it. `before_answer` may follow that; `sign` is in the template."""

    opens: str
    closes: str
    before_answer: str = ""
    sign: str = ""


MARKS = (
    Marks("<think>", "</think>"),
    Marks("[THINK]", "[/THINK]"),  # Ministral, Magistral
    Marks("<seed:think>", "</seed:think>"),
    Marks("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>"),  # Cohere
    Marks("<|channel>thought\n", "<channel|>", sign="<|channel>"),  # Gemma 4
    Marks("<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant<|channel|>final<|message|>", "<|channel|>"),
    Marks("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    Marks("<|think|>", "<|end|>", "<|begin|>assistant<|content|>", "<|think|><|"),  # Solar
    Marks("<reasoning>", "</reasoning>"),  # Reka
    Marks("<thinking>", "</thinking>"),
    Marks("◁think▷", "◁/think▷"),  # Kimi-VL
    Marks("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker
)


@dataclass(frozen=True, kw_only=True)
class ThinkSetting:
    """How a request is sent to have its `think`. Without `is_heeded` the model cannot do what was requested."""

    think: Think = None
    variables: Variables = field(default_factory=dict)
    system_words: str = ""
    is_heeded: bool = True


@dataclass(frozen=True, kw_only=True)
class ThinkingTraits:
    """How a model thinks. `off` is None if it always does; `levels` have the variables of each level."""

    on: Variables
    off: Variables | None
    levels: Mapping[str, Variables]
    system_words: tuple[str, str] | None
    marks: tuple[Marks, ...]

    def setting(self, think: Think) -> ThinkSetting:
        """What comes nearest to `think`: True, False, a level of `RANKS`, or None for the template's default."""
        match think:
            case None:
                return ThinkSetting()
            case False if self.off is None:
                if not self.levels:
                    return ThinkSetting(is_heeded=False)
                return self._at_level(min(self.levels, key=_rank), is_heeded=False)
            case False:
                return ThinkSetting(think=False, variables=self.off or {}, system_words=self._words(is_on=False))
            case True:
                return ThinkSetting(think=True, variables=self.on, system_words=self._words(is_on=True))
        if self.levels:
            return self._at_level(nearest(str(think), self.levels), is_heeded=True)
        return ThinkSetting(think=True, variables=self.on, system_words=self._words(is_on=True), is_heeded=False)

    def _at_level(self, level: str, *, is_heeded: bool) -> ThinkSetting:
        variables = {**self.on, **self.levels[level]}
        named = any(name in EFFORTS for name in self.levels[level])
        return ThinkSetting(think=level if named else True, variables=variables, is_heeded=is_heeded)

    def _words(self, *, is_on: bool) -> str:
        return self.system_words[0 if is_on else 1] if self.system_words else ""


def nearest(level: str, levels: Collection[str]) -> str:
    """The nearest of the levels; of two equally near the higher.

    >>> nearest("max", ["low", "medium", "high"]), nearest("medium", ["low", "high"])
    ('high', 'high')
    """
    return min(levels, key=lambda other: (abs(_rank(other) - _rank(level)), -_rank(other)))


@lru_cache(maxsize=256)
def thinking_of(template: str) -> ThinkingTraits | None:
    """How a model with this template thinks; None if it does not.

    >>> thinking_of("{% if not thinking %}</think>{% endif %}").setting(True).variables
    {'thinking': True}
    """
    names = names_of(template)
    marks = tuple(mark for mark in MARKS if any(sign in template for sign in _signs(mark)))
    readable = names.variables | ({"enable_thinking"} if "enable_thinking" in template else set())
    switches = {name: values for name, values in SWITCHES.items() if name in readable}
    switches |= {name: _mode_values(names.words) for name in MODES if name in names.variables}
    levels = _levels(names)
    if not (marks or switches or levels or names.fields & FIELDS):
        return None
    on: Variables = {name: values[0] for name, values in switches.items()}
    off: Variables | None = {name: values[1] for name, values in switches.items()} or None
    if off is None and (effort := _effort(names)) and (word := _first(OFF_WORDS, names.words)):
        on, off = levels[nearest("medium", levels)] if levels else {}, {effort: word}
    words = None if off else next((pair for pair in SYSTEM_WORDS if any(pair[1] in word for word in names.words)), None)
    return ThinkingTraits(on=on, off={} if words else off, levels=levels, system_words=words, marks=marks)


def _rank(level: str) -> int:
    return RANKS[level]


def _signs(marks: Marks) -> Sequence[str]:
    """Texts by which a template shows that its model marks thoughts so; some only cut thoughts off behind the mark."""
    return (marks.sign,) if marks.sign else (marks.opens, marks.closes)


def _mode_values(words: Collection[str]) -> tuple[JsonValue, JsonValue]:
    return _first(ON_WORDS, words) or ON_WORDS[0], _first(OFF_WORDS, words) or OFF_WORDS[0]


def _effort(names: TemplateNames) -> str:
    return _first(EFFORTS, names.variables)


def _levels(names: TemplateNames) -> Mapping[str, Variables]:
    if effort := _effort(names):
        levels = [level for level in RANKS if level in names.words]
        is_open = len(levels) == 1 or effort in names.printed
        if is_open and len(levels) < 2:
            levels = [level for level in RANKS if level in (*USUAL_LEVELS, *levels)]
        return {level: {effort: level} for level in levels}
    for variable, values in OTHER_EFFORTS.items():
        if variable in names.variables:
            return {level: {variable: value} for level, value in values.items()}
    return {}


def _first(candidates: Iterable[str], present: Collection[str]) -> str:
    return next((candidate for candidate in candidates if candidate in present), "")
