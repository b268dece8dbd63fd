"""From the text of a regular expression to its tree.

The dialect is ECMA 262 with Unicode, as JSON Schema asks for, and what Python writes differently: `(?P<name>…)`, `\\A`,
`\\Z`, `(?i)` in front. Not supported: word boundaries, look-behind and back-references. Laziness has no meaning here.
"""

import functools
import re
from dataclasses import dataclass
from typing import NoReturn

from oprel.utils.regex import characters
from oprel.utils.regex.characters import CharacterSet

MOST_REPEATED = 2000  # llama.cpp's limit, too
DEEPEST = 60
LONGEST = 4096
ESCAPED = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}
CLASSES = {"d": characters.DIGITS, "w": characters.WORD, "s": characters.SPACE}
QUANTIFIER = re.compile(r"(?:(?P<sign>[*+?])|\{(?P<least>\d{1,6})(?P<comma>,)?(?P<most>\d{1,6})?\})\??")
HEXADECIMAL = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
LOW_SURROGATE = re.compile(r"\\u([dD][C-Fc-f][0-9A-Fa-f]{2})")
PROPERTY = re.compile(r"[pP]\{(?:gc=|General_Category=)?(\w+)\}")
FLAGS = re.compile(r"\(\?(i)\)")
GROUP = re.compile(r"\((?:\?(?::|(?P<fold>i):|(?P<look>[=!])|P?<[A-Za-z_]\w*>))?")


class PatternError(ValueError):
    """The pattern is not a regular expression, or uses what is not supported."""


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    set: CharacterSet


@dataclass(frozen=True)
class Concatenation:
    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Alternation:
    options: tuple["Node", ...]


@dataclass(frozen=True)
class Repetition:
    """`most` is None without a limit."""

    part: "Node"
    least: int
    most: int | None


@dataclass(frozen=True)
class Anchor:
    """The start of the text, or its end."""

    at_start: bool


@dataclass(frozen=True)
class Lookahead:
    part: "Node"
    negative: bool


Node = Characters | Concatenation | Alternation | Repetition | Anchor | Lookahead


@functools.lru_cache
def parse(pattern: str) -> Node:
    """The tree of a pattern. Raises PatternError."""
    if len(pattern) > LONGEST:
        raise PatternError(f"it is longer than {LONGEST} characters")
    return _Parser(pattern).whole()


def width(node: Node) -> tuple[int, int | None]:
    """How many characters the node takes: at least, and at most (None without a limit)."""
    match node:
        case Characters():
            return 1, 1
        case Anchor() | Lookahead():
            return 0, 0
        case Concatenation(parts):
            widths = [width(part) for part in parts]
            highs = [high for _, high in widths if high is not None]
            return sum(low for low, _ in widths), sum(highs) if len(highs) == len(widths) else None
        case Alternation(options):
            widths = [width(option) for option in options]
            highs = [high for _, high in widths if high is not None]
            return min(low for low, _ in widths), max(highs) if len(highs) == len(widths) else None
        case Repetition(part, fewest, often):
            low, high = width(part)
            return low * fewest, _product(high, often)


def _product(high: int | None, often: int | None) -> int | None:
    if 0 in (high, often):
        return 0
    return None if high is None or often is None else high * often


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        self._folds = False

    def whole(self) -> Node:
        if flags := FLAGS.match(self._pattern):
            self._folds, self._at = True, flags.end()
        node = self._alternation()
        if self._at < len(self._pattern):
            self._fail("it has an unbalanced parenthesis")
        return node

    def _fail(self, reason: str) -> NoReturn:
        raise PatternError(f"{reason}, at character {self._at + 1}")

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self, expression: re.Pattern[str]) -> re.Match[str] | None:
        match = expression.match(self._pattern, self._at)
        self._at = match.end() if match else self._at
        return match

    def _alternation(self) -> Node:
        options = [self._concatenation()]
        while self._next() == "|":
            self._at += 1
            options.append(self._concatenation())
        return Alternation(tuple(options)) if len(options) > 1 else options[0]

    def _concatenation(self) -> Node:
        parts = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._quantified())
        return parts[0] if len(parts) == 1 else Concatenation(tuple(parts))

    def _quantified(self) -> Node:
        if QUANTIFIER.match(self._pattern, self._at):
            self._fail("there is nothing to repeat")
        part = self._part()
        if not (match := self._take(QUANTIFIER)):
            return part
        if isinstance(part, Anchor | Lookahead):
            self._fail("an assertion cannot be repeated")
        if QUANTIFIER.match(self._pattern, self._at):
            self._fail("a repetition is repeated")
        least, most = _bounds(match)
        if most is not None and most < least or max(least, most or 0) > MOST_REPEATED:
            self._fail(f"a repetition is out of order or above {MOST_REPEATED}")
        return Repetition(part, least, most)

    def _part(self) -> Node:
        match self._next():
            case "(":
                return self._group()
            case "[":
                return self._one_of(self._class())
            case "\\":
                return self._escape()
            case "^" | "$" as sign:
                self._at += 1
                return Anchor(sign == "^")
            case ".":
                self._at += 1
                return Characters(characters.DOT)
            case character:
                self._at += 1
                return self._one_of(CharacterSet.from_text(character))

    def _one_of(self, set: CharacterSet) -> Characters:
        return Characters(set.ignoring_case() if self._folds else set)

    def _group(self) -> Node:
        start = self._take(GROUP)
        assert start is not None
        if self._next() == "?":
            self._fail("this kind of group is not supported")
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail("it is nested too deeply")
        folds, self._folds = self._folds, self._folds or bool(start["fold"])
        node = self._alternation()
        if self._next() != ")":
            self._fail("a group does not end")
        self._at += 1
        self._depth -= 1
        self._folds = folds
        return Lookahead(node, start["look"] == "!") if start["look"] else node

    def _escape(self) -> Node:
        if self._pattern[self._at + 1 : self._at + 2] in ("A", "Z", "z"):
            self._at += 2
            return Anchor(self._pattern[self._at - 1] == "A")
        return self._one_of(self._escaped())

    def _escaped(self) -> CharacterSet:
        """What a backslash and its successors mean, inside of a class or outside."""
        self._at += 1
        if match := self._take(HEXADECIMAL):
            return self._hexadecimal(match)
        if match := self._take(PROPERTY):
            return self._property(match)
        letter = self._next()
        self._at += 1
        if letter.lower() in CLASSES:
            named = CLASSES[letter.lower()]
            return named if letter.islower() else ~named
        if letter == "0" and self._next().isdecimal():
            self._fail("octal numbers are not supported")
        if letter in ESCAPED:
            return CharacterSet.of((ESCAPED[letter], ESCAPED[letter]))
        if letter == "c" and self._next().isascii() and self._next().isalpha():
            self._at += 1
            return CharacterSet.from_text(chr(ord(self._pattern[self._at - 1]) % 32))
        if not letter or letter.isalnum():
            self._fail(f"the escape \\{letter} is not supported")
        return CharacterSet.from_text(letter)

    def _hexadecimal(self, match: re.Match[str]) -> CharacterSet:
        code = int(match[match.lastindex or 0], 16)
        if 0xD800 <= code < 0xDC00 and (low := self._take(LOW_SURROGATE)):
            code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if code > characters.LAST:
            self._fail("there is no such character")
        return CharacterSet.of((code, code))

    def _property(self, match: re.Match[str]) -> CharacterSet:
        named = characters.category(match[1])
        if not named:
            self._fail(f"the property {match[1]} is not supported")
        return named if match[0].startswith("p") else ~named

    def _class(self) -> CharacterSet:
        self._at += 1
        negated = self._next() == "^"
        self._at += negated
        members = CharacterSet(())
        while self._next() != "]":
            if not self._next():
                self._fail("a class of characters does not end")
            members |= self._members()
        self._at += 1
        return ~members if negated else members

    def _members(self) -> CharacterSet:
        """A range, or one member of a class."""
        first = self._member()
        following = self._pattern[self._at : self._at + 2]
        if following[:1] != "-" or following[1:] in ("", "]"):
            return first
        self._at += 1
        last = self._member()
        (low, high), (to, end) = _only_range(first), _only_range(last)
        if low != high or to != end:  # a class such as \w is no end of a range: the hyphen stands for itself
            return first | last | CharacterSet.from_text("-")
        if to < low:
            self._fail("a range is out of order")
        return CharacterSet.of((low, to))

    def _member(self) -> CharacterSet:
        if self._next() != "\\":
            self._at += 1
            return CharacterSet.from_text(self._pattern[self._at - 1])
        if self._pattern[self._at + 1 : self._at + 2] == "b":
            self._at += 2
            return CharacterSet.of((8, 8))
        return self._escaped()


def _only_range(set: CharacterSet) -> tuple[int, int]:
    return set.ranges[0] if len(set.ranges) == 1 else (0, characters.LAST)


def _bounds(match: re.Match[str]) -> tuple[int, int | None]:
    if match["sign"]:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[match["sign"]]
    least = int(match["least"])
    return least, int(match["most"]) if match["most"] else None if match["comma"] else least
