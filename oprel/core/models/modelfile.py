'''Modelfiles: the text form of a model that is made from another one. Pure: reads no file and no model.

    # a comment
    FROM guide
    PARAMETER temperature 0.2
    PARAMETER stop "<|im_end|>"
    SYSTEM """You are kind.
    And brief."""
    MESSAGE user Hello!

Commands ignore case. A value is the rest of its line, or a text in `"` or in `"""`, which may span lines: it ends at
the first line that ends in the same quotes, so that quotes within a line need no escape. A text that itself has a line
ending in `"""` is enclosed by two lines of quotes only, seven or more, the same number in both.
'''

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oprel.core.exceptions import ValidationError
from oprel.core.request_options import OPTIONS, UNSUPPORTED, OptionType, find_option

Parameter = str | int | float | bool | list[str]

ROLES = ("system", "user", "assistant")
COMMANDS = ("from", "parameter", "template", "system", "adapter", "license", "message")
# Commands of Ollama that name the parser or the release that a model needs.
IGNORED = ("requires", "draft", "renderer", "parser")
TEXTS = tuple(name for name, option in OPTIONS.items() if option.type is OptionType.TEXTS)  # may occur several times
FENCE = '"' * 7
BYTE_ORDER_MARKS = (  # that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Modelfile:
    """The content of a Modelfile. `from_` is a name or a path, as are `adapters`.

    `also_from` are further FROM lines: the model's other files, such as an mmproj. `notes` are sentences about what
    was ignored, `lines` the line number of each parameter.
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
    """`name` is that of the parameter, or the role of the message; empty for other commands."""

    line: int
    word: str
    name: str
    value: str


def decoded(content: bytes) -> str:
    r"""The text of a Modelfile: in UTF-8, or with a byte order mark in UTF-16 or UTF-32, as Windows writes it.

    >>> decoded("FROM a\r\nSYSTEM é".encode("utf-16")), decoded(b"\xef\xbb\xbfFROM a")
    ('FROM a\nSYSTEM é', 'FROM a')
    """
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    return content.decode(encoding, errors="replace").replace("\r\n", "\n")


def parse(text: str) -> Modelfile:
    """Raises ValidationError that names the line."""
    commands = list(_commands(text))
    values = {word: [command.value for command in commands if command.word == word] for word in COMMANDS}
    if not values["from"]:
        raise ValidationError(
            "the Modelfile has no FROM line", "Start it with FROM and a model's name or a file's path."
        )
    parameters = [command for command in commands if command.word == "parameter"]
    return Modelfile(
        from_=values["from"][0],
        parameters=_parameters(parameters),
        template=values["template"][-1] if values["template"] else None,
        system=values["system"][-1] if values["system"] else None,
        adapters=tuple(values["adapter"]),
        licenses=tuple(values["license"]),
        messages=tuple(_message(command) for command in commands if command.word == "message"),
        also_from=tuple(values["from"][1:]),
        notes=tuple(_notes(commands)),
        lines={command.name: command.line for command in parameters},
    )


def render(modelfile: Modelfile, comment: str = "") -> str:
    """The text that `parse` reads as `modelfile`, below `comment`. Notes are left out."""
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
    """Names, sorted, with their values as in a Modelfile: texts in quotes, a list as several lines.

    >>> list(parameter_lines({"top_k": 5, "stop": ["a", "b"]}))
    [('stop', '"a"'), ('stop', '"b"'), ('top_k', '5')]
    """
    for name, value in sorted(parameters.items()):
        for item in value if isinstance(value, list) else [value]:
            yield name, _quoted(item, '"') if isinstance(item, str) else str(item).lower()


def _commands(text: str) -> Iterator[_Command]:
    lines = text.split("\n")  # not splitlines: only a line feed ends a line
    number = 0
    while number < len(lines):
        word, rest = _split(lines[number])
        number += 1
        if not word or word.startswith("#"):
            continue
        start, word = number, word.lower()
        if word not in COMMANDS + IGNORED:
            raise _error(start, f"unknown command {word[:40]!r}", f"The commands are {', '.join(COMMANDS).upper()}.")
        name, rest = _split(rest) if word in ("message", "parameter") else ("", rest)
        value, number = _value(rest, lines, number, start)
        if not value and word in ("from", "adapter"):
            raise _error(start, f"{word.upper()} needs a model's name or a file's path")
        yield _Command(start, word, name, value)


def _split(text: str) -> tuple[str, str]:
    """The first word and the rest. Trailing spaces stay: within quotes they belong to the text."""
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
            raise _error(
                start, f"the quotes {quotes} are never closed", f"End the text with {quotes} at the end of a line."
            )
        content.append(lines[number])
        is_closed = _ends(lines[number], quotes)
        number += 1
    return "\n".join(content).rstrip()[len(quotes) : -len(quotes)], number


def _fenced(fence: str, lines: Sequence[str], number: int, start: int) -> tuple[str, int]:
    for end in range(number, len(lines)):
        if lines[end].rstrip() == fence:
            return "\n".join(lines[number:end]), end + 1
    raise _error(start, f"the quotes {fence} are never closed", f"End the text with a line that is only {fence}.")


def _opening(line: str) -> str:
    if line.startswith(FENCE) and not line.strip('" \t\r'):
        return line.strip()
    return next((quotes for quotes in ('"""', '"') if line.startswith(quotes)), "")


def _ends(line: str, quotes: str) -> bool:
    return line.rstrip().endswith(quotes)


def _parameters(commands: Sequence[_Command]) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for command in commands:
        name, value = command.name, command.value
        if not name or (not value and name not in TEXTS):
            raise _error(command.line, "PARAMETER needs a name and a value")
        if name in UNSUPPORTED:
            continue
        _check_option(command)
        if name in TEXTS:
            earlier = parameters.get(name)
            parameters[name] = [*earlier, value] if isinstance(earlier, list) else [value]
        else:
            parameters[name] = _typed(value)
    return parameters


def _check_option(command: _Command) -> None:
    try:
        find_option(command.name)
    except ValidationError as error:
        raise _error(command.line, error.message, *error.resolution_steps) from None


def _notes(commands: Sequence[_Command]) -> Iterator[str]:
    for command in commands:
        if command.word in IGNORED:
            yield f"Line {command.line}: {command.word.upper()} is ignored."
        elif command.word == "parameter" and command.name in UNSUPPORTED:
            yield f"Line {command.line}: PARAMETER {command.name} is ignored: oprel's engines do not have it."


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
    """`text`, without quotes where it needs none."""
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
