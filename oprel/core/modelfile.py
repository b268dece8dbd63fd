'''Modelfiles: the text form of a model made from another one. Pure: reads no file and knows no model.

    # a comment
    FROM guide
    PARAMETER temperature 0.2
    PARAMETER stop "<|im_end|>"
    SYSTEM """You are kind.
    And brief."""
    MESSAGE user Hello!

Commands ignore case. A value is the rest of its line, or stands between `"` or between `"""`, and may then span lines:
it ends with the first line that ends in the same quotes, so that quotes within a line need no escape. A text that
itself has a line that ends in `"""` stands between two lines of as many quotes, seven or more.
'''

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oprel.core.exceptions import ValidationError

Parameter = str | int | float | bool | list[str]

ROLES = ("system", "user", "assistant")
COMMANDS = ("from", "parameter", "template", "system", "adapter", "license", "message")
# Of Ollama: they say which parser or which release a model needs.
IGNORED = ("requires", "draft", "renderer", "parser")
TEXTS = ("stop",)  # parameters whose values are texts, and may be several
FENCE = '"' * 7

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Modelfile:
    """What a Modelfile says. `from_` is a name or a path, as are `adapters`.

    `also_from` are further FROM lines: the model's other files, such as an mmproj. `notes` tell what was ignored,
    `lines` where each parameter stands.
    """

    from_: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    template: str | None = None
    system: str | None = None
    adapters: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    also_from: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class _Command:
    """`name` is the parameter's or the role; empty for other commands."""

    line: int
    word: str
    name: str
    value: str


def parse(text: str) -> Modelfile:
    """Raises ValidationError that names the line."""
    commands = list(_commands(text))
    values = {word: [one.value for one in commands if one.word == word] for word in COMMANDS}
    if not values["from"]:
        raise ValidationError(
            "the Modelfile has no FROM line", "Begin it with FROM and a model's name or a file's path."
        )
    return Modelfile(
        from_=values["from"][0],
        parameters=_parameters([one for one in commands if one.word == "parameter"]),
        template=values["template"][-1] if values["template"] else None,
        system=values["system"][-1] if values["system"] else None,
        adapters=tuple(values["adapter"]),
        licenses=tuple(values["license"]),
        messages=tuple(_message(one) for one in commands if one.word == "message"),
        also_from=tuple(values["from"][1:]),
        notes=tuple(f"Line {one.line}: {one.word.upper()} is ignored." for one in commands if one.word in IGNORED),
        lines={one.name: one.line for one in commands if one.word == "parameter"},
    )


def render(modelfile: Modelfile, comment: str = "") -> str:
    """The text that `parse` makes `modelfile` of; the lines of `comment` stand above it. Notes are left out."""
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [f"FROM {_inline(name)}" for name in (modelfile.from_, *modelfile.also_from)]
    lines += [f"ADAPTER {_inline(name)}" for name in modelfile.adapters]
    lines += [f"TEMPLATE {_quoted(modelfile.template)}"] if modelfile.template is not None else []
    lines += [f"SYSTEM {_quoted(modelfile.system)}"] if modelfile.system is not None else []
    lines += [f"PARAMETER {name} {value}" for name, value in parameter_lines(modelfile.parameters)]
    lines += [f"MESSAGE {role} {_inline(text)}" for role, text in modelfile.messages]
    lines += [f"LICENSE {_quoted(text)}" for text in modelfile.licenses]
    return "\n".join(lines) + "\n"


def parameter_lines(parameters: Mapping[str, Parameter]) -> Iterator[tuple[str, str]]:
    """Names, sorted, with their values as a Modelfile has them: texts in quotes, a list as several lines.

    >>> list(parameter_lines({"top_k": 5, "stop": ["a", "b"]}))
    [('stop', '"a"'), ('stop', '"b"'), ('top_k', '5')]
    """
    for name, value in sorted(parameters.items()):
        for one in value if isinstance(value, list) else [value]:
            yield name, _quoted(one, '"') if isinstance(one, str) else str(one).lower()


def _commands(text: str) -> Iterator[_Command]:
    lines = text.split("\n")  # not splitlines: only the line feed ends a line
    number = 0
    while number < len(lines):
        word, rest = _split(lines[number])
        number += 1
        if not word or word.startswith("#"):
            continue
        start, word = number, word.lower()
        if word not in COMMANDS + IGNORED:
            raise _error(start, f"{word[:40]!r} is no command", f"Commands are {', '.join(COMMANDS).upper()}.")
        name, rest = _split(rest) if word in ("message", "parameter") else ("", rest)
        value, number = _value(rest, lines, number, start)
        if not value and word in ("from", "adapter"):
            raise _error(start, f"{word.upper()} needs a model's name or a file's path")
        yield _Command(start, word, name, value)


def _split(text: str) -> tuple[str, str]:
    """The first word and what follows it; spaces at the end stay, within quotes they are part of a text."""
    trimmed = text.lstrip()
    word = trimmed.split(None, 1)[0] if trimmed else ""
    return word, trimmed[len(word) :].lstrip()


def _value(first: str, lines: Sequence[str], number: int, start: int) -> tuple[str, int]:
    """The value that begins with `first`, and the number of the line after it."""
    quotes = _opening(first)
    if not quotes:
        return first.strip(), number
    if quotes.startswith(FENCE):
        return _fenced(quotes, lines, number, start)
    content, is_closed = [first], _ends(first, quotes) and len(first.rstrip()) >= 2 * len(quotes)
    while not is_closed:
        if number == len(lines):
            raise _error(start, f"the quotes {quotes} are never closed", f"End the text with {quotes} at a line's end.")
        content.append(lines[number])
        is_closed = _ends(lines[number], quotes)
        number += 1
    return "\n".join(content).rstrip()[len(quotes) : -len(quotes)], number


def _fenced(fence: str, lines: Sequence[str], number: int, start: int) -> tuple[str, int]:
    for end in range(number, len(lines)):
        if lines[end].rstrip() == fence:
            return "\n".join(lines[number:end]), end + 1
    raise _error(start, f"the quotes {fence} are never closed", f"End the text with a line of {fence} alone.")


def _opening(line: str) -> str:
    if line.startswith(FENCE) and not line.strip('" \t\r'):
        return line.strip()
    return next((quotes for quotes in ('"""', '"') if line.startswith(quotes)), "")


def _ends(line: str, quotes: str) -> bool:
    return line.rstrip().endswith(quotes)


def _parameters(commands: Sequence[_Command]) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for one in commands:
        if not one.name or (not one.value and one.name not in TEXTS):
            raise _error(one.line, "PARAMETER needs a name and a value")
        earlier = found.get(one.name)
        if one.name in TEXTS:
            found[one.name] = [*earlier, one.value] if isinstance(earlier, list) else [one.value]
        else:
            found[one.name] = _typed(one.value)
    return found


def _typed(value: str) -> Parameter:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _FLOAT.fullmatch(value) else value


def _message(command: _Command) -> tuple[str, str]:
    role = command.name.lower()
    if role not in ROLES:
        raise _error(command.line, 'message role must be one of "system", "user", or "assistant"')
    return role, command.value


def _inline(text: str) -> str:
    """`text` without quotes where that says the same."""
    return text if text and text == text.strip() and "\n" not in text and not text.startswith('"') else _quoted(text)


def _quoted(text: str, prefer: str = '"""') -> str:
    for quotes in (prefer, '"""'):
        candidate = f"{quotes}{text}{quotes}"
        first, *others = candidate.split("\n")
        if _opening(first) == quotes and _value(first, others, 0, 0) == (text, len(others)):
            return candidate
    fence = '"' * max([len(FENCE), *(len(run) + 1 for run in re.findall('"+', text))])
    return f"{fence}\n{text}\n{fence}"


def _error(line: int, what: str, *steps: str) -> ValidationError:
    return ValidationError(f"Modelfile, line {line}: {what}", *steps)
