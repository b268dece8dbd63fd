"""The state of a conversation at the terminal, and how `/set` changes it. Pure: no terminal, no daemon."""

import json
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.core.exceptions import ValidationError
from oprel.core.names import absolute
from oprel.core.request_options import OPTIONS, OptionType, RequestOption, find_option

if TYPE_CHECKING:
    from pydantic import JsonValue

    from oprel.api_models import OllamaMessage, OllamaShowResponse
    from oprel.client.types import Format

FORMATS = "Write `json`, a JSON schema, or the path of a schema file."
THINK_LEVELS = ("low", "medium", "high", "max")
VALUES = {
    OptionType.INTEGER: "a whole number",
    OptionType.FLOAT: "a number",
    OptionType.BOOLEAN: "true or false",
    OptionType.TEXTS: "text",
}


@dataclass(frozen=True)
class Session:
    """`saved` are the messages stored with the model: the daemon puts them before `messages`."""

    model: str
    messages: "tuple[OllamaMessage, ...]" = ()
    saved: "tuple[OllamaMessage, ...]" = ()
    system: str = ""
    options: "Mapping[str, JsonValue]" = field(default_factory=dict)
    format: "Format" = None
    think: bool | str | None = None
    keep_alive: float | str | None = None
    verbose: bool = False
    wordwrap: bool = True
    hide_thinking: bool = False
    history: bool = True

    @property
    def request(self) -> "list[OllamaMessage]":
        """The messages to send."""
        from oprel.api_models import OllamaMessage

        system = [OllamaMessage(role="system", content=self.system)] if self.system else []
        return [*system, *self.messages]


@dataclass(frozen=True)
class SessionSetting:
    """A word after `/set`. `apply` returns the changed session and a sentence about it, or raises ValidationError."""

    usage: str
    help: str
    apply: Callable[[Session, str], tuple[Session, str]]


def change(session: Session, text: str) -> tuple[Session, str]:
    """The session after `/set TEXT`, and a sentence about the change. Raises ValidationError."""
    word, _, argument = text.strip().partition(" ")
    if word not in SETTINGS:
        raise ValidationError(
            f"unknown setting {word!r}" if word else "/set needs a setting",
            *((f"Did you mean `/set parameter {text.strip()}`?",) if word in OPTIONS else guess(word, SETTINGS)),
            "`/? set` lists them.",
        )
    return SETTINGS[word].apply(session, argument.strip())


def guess(word: str, candidates: Sequence[str] | Mapping[str, object], quote: str = "`") -> tuple[str, ...]:
    """A sentence with the nearest of `candidates`, or none.

    >>> guess("lits", ["list", "ps"])
    ('Did you mean `list`?',)
    """
    near = get_close_matches(word, candidates, n=1)
    return (f"Did you mean {quote}{near[0]}{quote}?",) if near else ()


def parameter(name: str, values: Sequence[str]) -> "JsonValue":
    """The value of an option, typed as words. Raises ValidationError."""
    option = find_option(name)
    if option.type is OptionType.TEXTS and values:
        return [*values]
    if len(values) != 1:
        raise ValidationError(f"{name} needs one value, not {len(values)}" if values else f"{name} needs a value")
    try:
        value = _typed(option, values[0])
    except (ValueError, KeyError):
        raise ValidationError(f"{name} must be {VALUES[option.type]}, not {values[0]!r}") from None
    if option.minimum is not None and (option.unset_to or 0) < value < option.minimum:
        raise ValidationError(f"{name} must be at least {option.minimum}, not {values[0]}")
    return value


def _typed(option: RequestOption, text: str) -> bool | float:
    if option.type is OptionType.INTEGER:
        return int(text)
    if option.type is OptionType.BOOLEAN:
        return {"true": True, "false": False}[text.lower()]
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(text)


def option(text: str) -> "tuple[str, JsonValue]":
    """An option and its value from NAME=VALUE. Raises ValidationError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValidationError(f"{text!r} is not NAME=VALUE", "Write for example --option temperature=0.2.")
    return name.strip(), parameter(name.strip(), [value.strip()])


def think_level(text: str) -> bool | str:
    """Raises ValidationError."""
    words: dict[str, bool | str] = {"": True, "true": True, "false": False, **{level: level for level in THINK_LEVELS}}
    if text.lower() not in words:
        raise ValidationError(f"{text!r} is not a level of thinking", f"Use {', '.join(THINK_LEVELS)}, true or false.")
    return words[text.lower()]


def answer_format(text: str) -> "Format":
    """`json`, a JSON schema, or the content of a schema file. Raises ValidationError."""
    if text == "json":
        return "json"
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
    '''The text without the `"""` around it.'''
    return text[3:].removesuffix('"""').strip("\n") if text.startswith('"""') else text


def is_open(text: str) -> bool:
    '''True while the `"""` at the start of a message (or of `/set system`) is not closed.'''
    body = text.strip().removeprefix("/set").lstrip().removeprefix("system").lstrip() if _sets(text) else text.strip()
    return body.startswith('"""') and not (len(body) >= 6 and body.endswith('"""'))


def _sets(text: str) -> bool:
    return text.split(maxsplit=2)[:2] == ["/set", "system"]


def loaded(session: Session, model: str, info: "OllamaShowResponse") -> Session:
    """The session with another model. A conversation stored with that model replaces this one."""
    think = session.think if "thinking" in info.capabilities or not session.think else None
    if info.messages:
        messages = session.messages if model == session.model else ()
        return replace(session, model=model, think=think, saved=tuple(info.messages), messages=messages)
    # From now on this session sends the messages that the previous model had stored.
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
    """`start` with the conversation that `dump` wrote, and with its model if `start` has none.

    Raises ValidationError when it is damaged.
    """
    from oprel.api_models import OllamaMessage

    try:
        kept = json.loads(content)
        model, system = str(kept["model"]), str(kept["system"])
        saved, messages = (
            [OllamaMessage.model_validate(message) for message in kept[name]] for name in ("saved", "messages")
        )
        options = {**kept["options"], **start.options}
    except (ValueError, KeyError, TypeError) as error:
        raise ValidationError(
            "the last conversation cannot be read", "Leave out --resume to start a new one."
        ) from error
    if start.model and absolute(start.model) != model:  # a model without the stored messages of the other
        messages, model = [*saved, *messages], start.model
    return replace(start, model=model, system=start.system or system, options=options, messages=tuple(messages))


def _set_parameter(session: Session, text: str) -> tuple[Session, str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValidationError(f"the quotes do not match: {error}") from error
    if not words:
        raise ValidationError(
            "/set parameter needs a name and a value",
            "Write for example `/set parameter temperature 0.2`; `/? parameters` lists the names.",
        )
    value = parameter(words[0], words[1:])
    return replace(session, options={**session.options, words[0]: value}), f"{words[0]} is now {_shown(value)}."


def _shown(value: "JsonValue") -> str:
    return " ".join(map(repr, value)) if isinstance(value, list) else str(value).lower()


def _set_system(session: Session, text: str) -> tuple[Session, str]:
    system = unquoted(text)
    return replace(session, system=system), "The system message is set." if system else "The system message is removed."


def _set_format(session: Session, text: str) -> tuple[Session, str]:
    format = answer_format(text)
    return replace(session, format=format), f"Answers are now JSON{'' if format == 'json' else ' of that schema'}."


def _set_think(session: Session, text: str) -> tuple[Session, str]:
    level = think_level(text)
    how = f" ({level})" if isinstance(level, str) else ""
    return replace(
        session, think=level
    ), f"The model thinks before it answers{how}." if level else "The model does not think."


def _switch(name: str, value: bool | None, said: str) -> Callable[[Session, str], tuple[Session, str]]:
    # `name` is a field of Session, and `value` has its type.
    return lambda session, _: (replace(session, **{name: value}), said)  # type: ignore[arg-type]


SETTINGS = {
    "parameter": SessionSetting(
        "parameter NAME VALUE…", "an option, such as temperature (`/? parameters`)", _set_parameter
    ),
    "system": SessionSetting("system TEXT", 'the system message, several lines in """', _set_system),
    "history": SessionSetting(
        "history", "keep your input in the history", _switch("history", True, "Input is kept in the history.")
    ),
    "nohistory": SessionSetting("nohistory", "do not keep it", _switch("history", False, "Input is not kept.")),
    "wordwrap": SessionSetting("wordwrap", "wrap lines between words", _switch("wordwrap", True, "Lines are wrapped.")),
    "nowordwrap": SessionSetting(
        "nowordwrap", "do not wrap lines", _switch("wordwrap", False, "Lines are not wrapped.")
    ),
    "format": SessionSetting("format json", "answer in JSON, or by a schema (text or file)", _set_format),
    "noformat": SessionSetting(
        "noformat", "answer in free text", _switch("format", None, "Answers are free text again.")
    ),
    "verbose": SessionSetting(
        "verbose", "show counts and times", _switch("verbose", True, "Counts and times are shown.")
    ),
    "quiet": SessionSetting("quiet", "do not show them", _switch("verbose", False, "Counts and times are not shown.")),
    "think": SessionSetting("think [LEVEL]", f"think before answering: {', '.join(THINK_LEVELS)}", _set_think),
    "nothink": SessionSetting("nothink", "answer without thinking", lambda session, _: _set_think(session, "false")),
}
