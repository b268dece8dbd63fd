"""Whether a text contains what a regular expression describes, by derivatives of the expression.

Each character of the text turns the expression into that of the rest of the text. There is no backtracking; conjunction
and complement, which look-aheads need, cost nothing extra; the expressions that can result are few in practice, and
their number is bounded.
"""

from dataclasses import dataclass
from enum import Enum

from oprel.utils.regex import characters
from oprel.utils.regex.characters import CharacterSet
from oprel.utils.regex.syntax import (
    Alternation,
    Anchor,
    Characters,
    Concatenation,
    Lookahead,
    Node,
    PatternError,
    Repetition,
    width,
)

MOST_STEPS = 100_000  # derivatives of one matcher: tenths of a second
MOST_UNROLLED = 8  # copies of a repeated part that has assertions


class TooComplex(Exception):
    """The text cannot be matched within bounds."""


# Languages: numbers stand for them, so that comparing two is cheap.


@dataclass(frozen=True)
class _OneOf:
    set: CharacterSet


@dataclass(frozen=True)
class _Then:
    first: int
    rest: int


@dataclass(frozen=True)
class _Either:
    options: frozenset[int]


@dataclass(frozen=True)
class _Both:
    parts: frozenset[int]


@dataclass(frozen=True)
class _Not:
    part: int


@dataclass(frozen=True)
class _Times:
    part: int
    least: int
    most: int | None


@dataclass(frozen=True)
class _Empty:
    """The empty text and nothing else."""


_Language = _OneOf | _Then | _Either | _Both | _Not | _Times | _Empty


class _At(Enum):
    """Whether a part of the pattern is matched at the start of the text."""

    START = "start"
    LATER = "later"
    EITHER = "either"


class Matcher:
    """A pattern that is matched anywhere in a text, unless it is anchored. It remembers its derivatives.

    Raises PatternError for what is not supported.
    """

    def __init__(self, pattern: Node) -> None:
        self._languages: list[_Language] = []
        self._numbers: dict[_Language, int] = {}
        self._nullable: dict[int, bool] = {}
        self._derivatives: dict[tuple[int, int], int] = {}
        self._steps = 0
        self._nothing = self._number(_OneOf(CharacterSet(())))
        self._empty = self._number(_Empty())
        any_one = self._number(_OneOf(characters.ANY))
        self._all = self._number(_Times(any_one, 0, None))
        try:
            later = self._then(any_one, self._then(self._all, self._of(pattern, self._all, _At.LATER)))
            self._whole = self._either({self._of(pattern, self._all, _At.START), later})
        except RecursionError as error:
            raise PatternError("it is too long") from error

    def matches(self, text: str) -> bool:
        """Raises TooComplex."""
        rest = self._whole
        try:
            for character in text:
                rest = self._derivative(rest, ord(character))
                if rest in (self._nothing, self._all):
                    return rest == self._all
            return self._is_nullable(rest)
        except RecursionError as error:
            raise TooComplex from error

    def _number(self, language: _Language) -> int:
        if language not in self._numbers:
            self._numbers[language] = len(self._languages)
            self._languages.append(language)
        return self._numbers[language]

    # ----------------------------------------------------------------------- from the tree, with what follows it

    def _of(self, node: Node, rest: int, at: _At) -> int:
        """The texts that begin with `node` and go on with `rest`, up to the end of the text."""
        match node:
            case Characters(set):
                return self._then(self._number(_OneOf(set)), rest)
            case Concatenation(parts):
                return self._of_parts(parts, rest, at)
            case Alternation(options):
                return self._either({self._of(option, rest, at) for option in options})
            case Anchor(at_start):
                return self._start(rest, at) if at_start else self._both({rest, self._empty})
            case Lookahead(part, negative):
                ahead = self._of(part, self._all, at)
                return self._both({rest, self._complement(ahead) if negative else ahead})
            case Repetition(part, least, most):
                return self._of_repetition(part, least, most, rest, at)

    def _of_parts(self, parts: tuple[Node, ...], rest: int, at: _At) -> int:
        places = []
        for part in parts:
            places.append(at)
            at = _after(part, at)
        for part, place in zip(reversed(parts), reversed(places), strict=True):
            rest = self._of(part, rest, place)
        return rest

    def _of_repetition(self, part: Node, least: int, most: int | None, rest: int, at: _At) -> int:
        if not _has_assertions(part):
            return self._then(self._times(self._of(part, self._empty, at), least, most), rest)
        if most is None or most > MOST_UNROLLED:
            raise PatternError("an assertion is repeated, which is not supported")
        place = at if most == 1 else _At.EITHER
        for count in range(most, 0, -1):
            once = self._of(part, rest, place)
            rest = once if count <= least else self._either({rest, once})
        return rest

    def _start(self, rest: int, at: _At) -> int:
        if at is _At.EITHER:
            raise PatternError("the start of the text behind what may be empty is not supported")
        return rest if at is _At.START else self._nothing

    # ------------------------------------------------------------------------------------ languages in normal form

    def _then(self, first: int, rest: int) -> int:
        if self._nothing in (first, rest):
            return self._nothing
        if first == self._empty:
            return rest
        if rest == self._empty:
            return first
        if isinstance(language := self._languages[first], _Then):
            return self._then(language.first, self._then(language.rest, rest))
        if first == rest == self._all:
            return self._all
        return self._number(_Then(first, rest))

    def _either(self, options: set[int]) -> int:
        flat: set[int] = set()
        for option in options:
            language = self._languages[option]
            flat |= language.options if isinstance(language, _Either) else {option}
        flat.discard(self._nothing)
        if self._all in flat:
            return self._all
        return self._nothing if not flat else flat.pop() if len(flat) == 1 else self._number(_Either(frozenset(flat)))

    def _both(self, parts: set[int]) -> int:
        flat: set[int] = set()
        for part in parts:
            language = self._languages[part]
            flat |= language.parts if isinstance(language, _Both) else {part}
        flat.discard(self._all)
        if self._nothing in flat:
            return self._nothing
        return self._all if not flat else flat.pop() if len(flat) == 1 else self._number(_Both(frozenset(flat)))

    def _complement(self, part: int) -> int:
        if isinstance(language := self._languages[part], _Not):
            return language.part
        opposite = {self._nothing: self._all, self._all: self._nothing}
        return opposite[part] if part in opposite else self._number(_Not(part))

    def _times(self, part: int, least: int, most: int | None) -> int:
        if most == 0 or part == self._empty or (part == self._nothing and least == 0):
            return self._empty
        return part if part == self._nothing or least == most == 1 else self._number(_Times(part, least, most))

    # ------------------------------------------------------------------------------------------------- derivatives

    def _is_nullable(self, number: int) -> bool:
        if number not in self._nullable:
            self._nullable[number] = self._accepts_empty(self._languages[number])
        return self._nullable[number]

    def _accepts_empty(self, language: _Language) -> bool:
        match language:
            case _OneOf():
                return False
            case _Empty():
                return True
            case _Then(first, rest):
                return self._is_nullable(first) and self._is_nullable(rest)
            case _Either(options):
                return any(self._is_nullable(option) for option in options)
            case _Both(parts):
                return all(self._is_nullable(part) for part in parts)
            case _Not(part):
                return not self._is_nullable(part)
            case _Times(part, least, _):
                return least == 0 or self._is_nullable(part)

    def _derivative(self, number: int, code: int) -> int:
        """What may follow the character."""
        if (number, code) not in self._derivatives:
            self._steps += 1
            if self._steps > MOST_STEPS:
                raise TooComplex
            self._derivatives[number, code] = self._derived(self._languages[number], code)
        return self._derivatives[number, code]

    def _derived(self, language: _Language, code: int) -> int:
        match language:
            case _OneOf(set):
                return self._empty if code in set else self._nothing
            case _Empty():
                return self._nothing
            case _Then(first, rest):
                after = self._then(self._derivative(first, code), rest)
                return self._either({after, self._derivative(rest, code)}) if self._is_nullable(first) else after
            case _Either(options):
                return self._either({self._derivative(option, code) for option in options})
            case _Both(parts):
                return self._both({self._derivative(part, code) for part in parts})
            case _Not(part):
                return self._complement(self._derivative(part, code))
            case _Times(part, least, most):
                fewer = self._times(part, max(0, least - 1), None if most is None else most - 1)
                return self._then(self._derivative(part, code), fewer)


def _has_assertions(node: Node) -> bool:
    match node:
        case Anchor() | Lookahead():
            return True
        case Concatenation(parts):
            return any(_has_assertions(part) for part in parts)
        case Alternation(options):
            return any(_has_assertions(option) for option in options)
        case Repetition(part):
            return _has_assertions(part)
        case Characters():
            return False


def _after(node: Node, at: _At) -> _At:
    """Where the part behind `node` is matched."""
    least, most = width(node)
    if at is _At.LATER or least > 0:
        return _At.LATER
    return at if most == 0 else _At.EITHER
