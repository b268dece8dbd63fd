"""Sets of characters, as ranges of code points."""

import functools
import sys
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from itertools import groupby

LAST = sys.maxunicode
FOLDED = 0x530  # below it, `ignoring_case` knows both cases: Latin, Greek, Cyrillic

Range = tuple[int, int]


@dataclass(frozen=True)
class CharacterSet:
    """Disjoint ranges in ascending order, ends included.

    >>> CharacterSet.of((97, 99), (98, 102)) & ~CharacterSet.of((100, 100))
    CharacterSet(ranges=((97, 99), (101, 102)))
    """

    ranges: tuple[Range, ...]

    @classmethod
    def of(cls, *ranges: Range) -> "CharacterSet":
        joined: list[Range] = []
        for first, last in sorted(ranges):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return cls(tuple(joined))

    @classmethod
    def from_text(cls, text: str) -> "CharacterSet":
        return cls.of(*((ord(character), ord(character)) for character in text))

    def __contains__(self, code: int) -> bool:
        at = bisect_right(self.ranges, (code, LAST)) - 1
        return at >= 0 and self.ranges[at][0] <= code <= self.ranges[at][1]

    def __or__(self, other: "CharacterSet") -> "CharacterSet":
        return CharacterSet.of(*self.ranges, *other.ranges)

    def __invert__(self) -> "CharacterSet":
        starts = [0, *(last + 1 for _, last in self.ranges)]
        ends = [*(first - 1 for first, _ in self.ranges), LAST]
        return CharacterSet(tuple((start, end) for start, end in zip(starts, ends, strict=True) if start <= end))

    def __and__(self, other: "CharacterSet") -> "CharacterSet":
        return ~(~self | ~other)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def ignoring_case(self) -> "CharacterSet":
        """With the other case of each letter."""
        letters = [chr(code) for first, last in self.ranges for code in range(first, min(last, FOLDED) + 1)]
        others = (other for letter in letters for other in (letter.lower(), letter.upper()) if len(other) == 1)
        return self | CharacterSet.from_text("".join(others))


ANY = CharacterSet.of((0, LAST))
DIGITS = CharacterSet.of((0x30, 0x39))
WORD = DIGITS | CharacterSet.of((0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
LINE_ENDS = CharacterSet.from_text("\n\r\u2028\u2029")
SPACE = LINE_ENDS | CharacterSet.of(
    *((0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)),
)
DOT = ~LINE_ENDS
CATEGORIES = {
    "Letter": "L",
    "Lowercase_Letter": "Ll",
    "Uppercase_Letter": "Lu",
    "Mark": "M",
    "Number": "N",
    "Decimal_Number": "Nd",
    "Punctuation": "P",
    "Symbol": "S",
    "Separator": "Z",
}


def category(name: str) -> CharacterSet:
    """The characters of a Unicode category, such as `Lu`; empty for an unknown one."""
    prefix = CATEGORIES.get(name, name)
    return CharacterSet.of(*(run for code, run in _runs() if code.startswith(prefix)))


@functools.cache
def _runs() -> list[tuple[str, Range]]:
    """All characters in order, as ranges of the same category."""
    runs, first = [], 0
    for code, run in groupby(map(unicodedata.category, map(chr, range(LAST + 1)))):
        size = sum(1 for _ in run)
        runs.append((code, (first, first + size - 1)))
        first += size
    return runs
