"""The names and words in a Jinja template's code, found by its tokens: templates have tags that Jinja cannot parse."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Token = tuple[str, str]  # kind and value

SKIPPED = frozenset(("whitespace", "comment_begin", "comment", "comment_end", "linecomment"))
LONGEST = 100_000  # characters; real templates have 30,000 at most, and a longer one would take seconds
ENDS = frozenset(("block_end", "variable_end"))


@dataclass(frozen=True)
class TemplateNames:
    """`variables` are read before the template sets them, and may be `printed`, also by another name.

    `fields` are members, by name or by text; `words` are all texts in the code.
    """

    variables: set[str] = field(default_factory=set)
    printed: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)


def names_of(template: str) -> TemplateNames:
    """All names; none of a template that cannot be read, or that is far too long.

    >>> names_of("{% set a = b | default('x') %}{{ a }}{{ m.c }}").variables >= {"b", "m"}
    True
    >>> names_of("{% set a = b | default('x') %}{{ a }}{{ m.c }}").printed >= {"b"}
    True
    """
    from jinja2 import TemplateSyntaxError  # imported late: only models with a template need it

    names, assigned, sources = TemplateNames(), set[str](), dict[str, str]()
    if len(template) > LONGEST:
        return names
    try:
        for is_printed, tokens in _statements(template):
            texts = {value[1:-1] for kind, value in tokens if kind == "string"}
            names.words.update(texts)
            names.fields.update(texts, _members(tokens))
            targets, rest = _split(tokens)
            read = [name for name in _names(rest) if name not in assigned]
            names.variables.update(read)
            if is_printed:
                names.printed.update(sources.get(name, name) for name in _names(rest))
            assigned.update(targets)
            sources.update((target, sources.get(name, name)) for target in targets for name in _names(rest)[:1])
    except TemplateSyntaxError:
        return TemplateNames()
    return names


def _statements(template: str) -> Iterator[tuple[bool, list[Token]]]:
    """The tokens of each block, and whether it prints a value."""
    from jinja2 import Environment

    is_printed, tokens = False, list[Token]()
    for _, kind, value in Environment().lex(template):
        if kind in ("block_begin", "variable_begin"):
            is_printed, tokens = kind == "variable_begin", []
        elif kind in ENDS:
            yield is_printed, tokens
        elif kind not in SKIPPED:
            tokens.append((kind, value))


def _split(tokens: Sequence[Token]) -> tuple[set[str], Sequence[Token]]:
    """The names that a block sets, and the tokens in which it reads names."""
    values = [value for _, value in tokens]
    match values[:1]:
        case ["set"] if "=" in values:
            at = values.index("=")
        case ["for"] if "in" in values:
            at = values.index("in")
        case ["macro" | "call" | "set"]:
            return set(_names(tokens[1:])), ()
        case _:
            return set(), tokens
    return set(_names(tokens[1:at])), tokens[at + 1 :]


def _names(tokens: Sequence[Token]) -> list[str]:
    """Names that are neither members, nor filters, nor arguments."""
    before = ["", *(value for _, value in tokens)]
    behind = [*(value for _, value in tokens[1:]), ""]
    return [
        value
        for (kind, value), previous, following in zip(tokens, before, behind, strict=False)
        if kind == "name" and previous not in (".", "|") and following != "="
    ]


def _members(tokens: Sequence[Token]) -> Iterable[str]:
    pairs = zip(tokens, tokens[1:], strict=False)
    return [value for (_, previous), (kind, value) in pairs if kind == "name" and previous == "."]
