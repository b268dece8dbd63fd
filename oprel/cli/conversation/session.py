"""What a conversation at the terminal consists of, and how `/set` changes it. Pure: no terminal, no daemon."""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from pydantic import JsonValue
from pydantic import ValidationError as Mismatch

from oprel.api_models import OllamaMessage, OllamaShowResponse
from oprel.core.exceptions import ValidationError
from oprel.core.names import absolute

FORMATS = "Write `json`, a JSON schema, or the path of a file with one."
THINK_LEVELS = ("low", "medium", "high", "max")
INTEGERS = (
    *("num_ctx", "num_predict", "num_keep", "seed", "top_k", "repeat_last_n"),
    *("num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"),
)
FLOATS = (
    *("temperature", "top_p", "min_p", "typical_p"),
    *("repeat_penalty", "presence_penalty", "frequency_penalty"),
)
BOOLEANS = ("use_mmap",)
TEXTS = ("stop",)  # one or several
PARAMETERS = (*INTEGERS, *FLOATS, *BOOLEANS, *TEXTS)


@dataclass(frozen=True)
class Session:
    """`saved` are the messages that belong to the model itself: the daemon puts them before `messages`."""

    model: str
    messages: tuple[OllamaMessage, ...] = ()
    saved: tuple[OllamaMessage, ...] = ()
    system: str = ""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    format: JsonValue = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    verbose: bool = False
    wordwrap: bool = True
    hide_thinking: bool = False
    history: bool = True

    @property
    def request(self) -> list[OllamaMessage]:
        """The messages to send."""
        system = [OllamaMessage(role="system", content=self.system)] if self.system else []
        return [*system, *self.messages]


@dataclass(frozen=True)
class SessionSetting:
    """A word after `/set`: `apply` gives the changed session and a sentence about it, or raises ValidationError."""

    usage: str
    help: str
    apply: Callable[[Session, str], tuple[Session, str]]


def change(session: Session, text: str) -> tuple[Session, str]:
    """The session after `/set TEXT`, and what to say about it. Raises ValidationError."""
    word, _, argument = text.strip().partition(" ")
    if word not in SETTINGS:
        raise ValidationError(
            f"there is no setting {word!r}" if word else "/set needs a setting",
            *guess(word, SETTINGS),
            "`/? set` lists them.",
        )
    return SETTINGS[word].apply(session, argument.strip())


def guess(word: str, known: Sequence[str] | Mapping[str, object], quote: str = "`") -> tuple[str, ...]:
    """A sentence with the nearest of `known`, or none.

    >>> guess("lits", ["list", "ps"])
    ('Did you mean `list`?',)
    """
    near = get_close_matches(word, known, n=1)
    return (f"Did you mean {quote}{near[0]}{quote}?",) if near else ()


def parameter(name: str, values: Sequence[str]) -> JsonValue:
    """A model parameter's value from its words. Raises ValidationError."""
    if name not in PARAMETERS:
        raise ValidationError(
            f"there is no parameter {name!r}", *guess(name, PARAMETERS), f"There are {', '.join(sorted(PARAMETERS))}."
        )
    if name in TEXTS and values:
        return [*values]
    if len(values) != 1:
        raise ValidationError(f"{name} needs one value, not {len(values)}" if values else f"{name} needs a value")
    kind = "a whole number" if name in INTEGERS else "a number" if name in FLOATS else "true or false"
    try:
        return _typed(name, values[0])
    except (ValueError, KeyError):
        raise ValidationError(f"{name} must be {kind}, not {values[0]!r}") from None


def _typed(name: str, text: str) -> JsonValue:
    if name in INTEGERS:
        return int(text)
    if name in BOOLEANS:
        return {"true": True, "false": False}[text.lower()]
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(text)


def option(text: str) -> tuple[str, JsonValue]:
    """A parameter from NAME=VALUE. Raises ValidationError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValidationError(f"{text!r} is not NAME=VALUE", "Write for example --option temperature=0.2.")
    return name.strip(), parameter(name.strip(), [value.strip()])


def think_level(text: str) -> bool | str:
    """Raises ValidationError."""
    words: dict[str, bool | str] = {"": True, "true": True, "false": False, **{level: level for level in THINK_LEVELS}}
    if text.lower() not in words:
        raise ValidationError(f"{text!r} is no way to think", f"There are {', '.join(THINK_LEVELS)}, true and false.")
    return words[text.lower()]


def answer_format(text: str) -> JsonValue:
    """`json`, a JSON schema, or the path of a file that holds one. Raises ValidationError."""
    if text == "json":
        return text
    try:
        schema: JsonValue = json.loads(text if text.startswith("{") else Path(text).expanduser().read_bytes())
    except OSError as error:
        raise ValidationError(
            f"the format is neither `json` nor a schema, and {text or 'no name'} cannot be read: {error.strerror}",
            FORMATS,
        ) from error
    except ValueError as error:
        raise ValidationError(f"the format {text} is not JSON: {error}", FORMATS) from error
    if not isinstance(schema, dict):
        raise ValidationError(f"the format {text} is not a JSON object", FORMATS)
    return schema


def unquoted(text: str) -> str:
    '''Text without the `"""` around it.'''
    return text[3:].removesuffix('"""').strip("\n") if text.startswith('"""') else text


def is_open(text: str) -> bool:
    '''True while a `"""` that the message (or `/set system`) begins with is not closed.'''
    body = text.strip().removeprefix("/set").lstrip().removeprefix("system").lstrip() if _sets(text) else text.strip()
    return body.startswith('"""') and not (len(body) >= 6 and body.endswith('"""'))


def _sets(text: str) -> bool:
    return text.split(maxsplit=2)[:2] == ["/set", "system"]


def loaded(session: Session, model: str, info: OllamaShowResponse) -> Session:
    """The session with a model. A conversation that was saved with another takes the place of this one."""
    think = session.think if "thinking" in info.capabilities or not session.think else None
    if info.messages:
        messages = session.messages if model == session.model else ()
        return replace(session, model=model, think=think, saved=tuple(info.messages), messages=messages)
    # The messages of the model before are from now on ours to send.
    return replace(session, model=model, think=think, saved=(), messages=(*session.saved, *session.messages))


def dump(session: Session) -> bytes:
    """The conversation as JSON, for `load`."""
    content = {
        "model": absolute(session.model),
        "system": session.system,
        "options": session.options,
        "saved": [message.model_dump(exclude_none=True) for message in session.saved],
        "messages": [message.model_dump(exclude_none=True) for message in session.messages],
    }
    return json.dumps(content, ensure_ascii=False, indent=2).encode()


def load(content: bytes, start: Session) -> Session:
    """`start` with the conversation that `dump` wrote, and its model where `start` names none.

    Raises ValidationError when it is damaged.
    """
    try:
        kept = json.loads(content)
        model, system = str(kept["model"]), str(kept["system"])
        saved, messages = ([OllamaMessage.model_validate(one) for one in kept[name]] for name in ("saved", "messages"))
        options = {**kept["options"], **start.options}
    except (ValueError, KeyError, TypeError, Mismatch) as error:
        raise ValidationError("the last conversation cannot be read", "Begin a new one: leave out --resume.") from error
    if start.model and absolute(start.model) != model:  # which does not have what was saved with the other
        messages, model = [*saved, *messages], start.model
    return replace(start, model=model, system=start.system or system, options=options, messages=tuple(messages))


def _set_parameter(session: Session, text: str) -> tuple[Session, str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValidationError(f"the quotes do not match: {error}") from error
    if not words:
        raise ValidationError("there is no parameter to set", "Write for example `/set parameter temperature 0.2`.")
    value = parameter(words[0], words[1:])
    return replace(session, options={**session.options, words[0]: value}), f"{words[0]} is {_shown(value)} now."


def _shown(value: JsonValue) -> str:
    return " ".join(map(repr, value)) if isinstance(value, list) else str(value).lower()


def _set_system(session: Session, text: str) -> tuple[Session, str]:
    system = unquoted(text)
    return replace(
        session, system=system
    ), "The system message is set." if system else "There is no system message now."


def _set_format(session: Session, text: str) -> tuple[Session, str]:
    wanted = answer_format(text)
    return replace(session, format=wanted), f"Answers are {'JSON' if wanted == 'json' else 'JSON of that schema'} now."


def _set_think(session: Session, text: str) -> tuple[Session, str]:
    level = think_level(text)
    how = f" ({level})" if isinstance(level, str) else ""
    return replace(
        session, think=level
    ), f"The model thinks first{how}." if level else "The model does not think first."


def _switch(name: str, value: bool | None, said: str) -> Callable[[Session, str], tuple[Session, str]]:
    # The names below are fields of Session, with values of their types
    return lambda session, _: (replace(session, **{name: value}), said)  # type: ignore[arg-type]


SETTINGS = {
    "parameter": SessionSetting(
        "parameter NAME VALUE…", "a parameter of the model, such as temperature", _set_parameter
    ),
    "system": SessionSetting("system TEXT", 'the system message, several lines in """', _set_system),
    "history": SessionSetting("history", "keep what is typed", _switch("history", True, "History is kept.")),
    "nohistory": SessionSetting("nohistory", "do not", _switch("history", False, "History is not kept.")),
    "wordwrap": SessionSetting("wordwrap", "wrap lines at words", _switch("wordwrap", True, "Lines are wrapped.")),
    "nowordwrap": SessionSetting("nowordwrap", "do not", _switch("wordwrap", False, "Lines are not wrapped.")),
    "format": SessionSetting("format json", "answer in JSON, or by a schema (text or file)", _set_format),
    "noformat": SessionSetting("noformat", "answer freely", _switch("format", None, "Answers are free text again.")),
    "verbose": SessionSetting("verbose", "show counts and times", _switch("verbose", True, "Figures are shown.")),
    "quiet": SessionSetting("quiet", "do not", _switch("verbose", False, "Figures are not shown.")),
    "think": SessionSetting("think [LEVEL]", f"think before answering: {', '.join(THINK_LEVELS)}", _set_think),
    "nothink": SessionSetting("nothink", "do not", lambda session, _: _set_think(session, "false")),
}
