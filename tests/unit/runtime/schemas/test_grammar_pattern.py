"""Patterns as engines turn them into grammars."""

import re
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from oprel.runtime.schemas.grammar_pattern import grammar_pattern
from oprel.utils.regex.matching import Matcher
from oprel.utils.regex.syntax import parse
from tests.unit.utils.regex.test_matching import EMAIL, PASSWORD, expressions

PLAIN = r"[^\u0000-\u001F\u0022\u005C\u007F]"
ENGINES = re.compile(r"\^(?:[^\\\[\]^$.{}]|\[\^?(?:[^\\\[\]]|\\u[0-9A-F]{4})+\]|\{\d+(,\d+)?\})*\$")  # what they know


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        ("[0-9]", f"^{PLAIN}{{0,32}}[0-9]{PLAIN}*$"),
        (r"^\d+$", "^[0-9][0-9]*$"),
        (r"^\w{2,}$", r"^[0-9A-Z\u005Fa-z]{2}[0-9A-Z\u005Fa-z]*$"),
        (r"^a\.b\/c$", r"^a[\u002E]b[\u002F]c$"),
        ("^(a|b|)$", "^((a|b)?)$"),
        ("^foo$|^bar$", "^(foo|bar)$"),
        ('^"$', r"^([\u005C][\u0022])$"),
        (r"^C:\\$", r"^C:([\u005C][\u005C])$"),
        (r"^\n$", r"^([\u005C]n)$"),
        (r"^a*?$", "^a*$"),
        ("^(?!b)[a-c]$", "^[a-c]$"),
        ("^😀$", "^[😀]$"),
        ("", None),
        (r"\bword", None),
        ("^a(?:b$)?", None),
    ],
)
def test_a_pattern_is_written_as_engines_know_it(pattern: str, written: str | None) -> None:
    assert grammar_pattern(pattern) == written


@pytest.mark.parametrize(
    ("pattern", "least", "most", "written"),
    [
        ("^[a-z]+$", 3, 10, "^[a-z]{3,10}$"),
        ("^[a-z]+$", 3, None, "^[a-z]{3}[a-z]*$"),
        ("^(?:ab)*$", 0, 5, "^(ab){0,2}$"),
        (r"^x+y+$", 0, 5, "^x{1,2}y{1,3}$"),
        ("^(?:a|bcd)$", 2, None, "^(bcd)$"),
        ("^a{3}$", 5, None, "^a{3}$"),  # no string is that long: the pattern alone
    ],
)
def test_lengths_become_a_part_of_it(pattern: str, least: int, most: int | None, written: str) -> None:
    assert grammar_pattern(pattern, least, most) == written


@pytest.mark.parametrize(
    "pattern", [EMAIL, PASSWORD, r"\p{Lu}", r"^[^\s@]+@[^\s@]+$", r"\$\d+(\.\d\d)?", ".", r"\D", r"\."]
)
def test_engines_know_all_of_it(pattern: str) -> None:
    written = grammar_pattern(pattern, 0, 40)
    assert written and ENGINES.fullmatch(written), written


TEXTS = ["".join(letters) for size in range(5) for letters in product("ab1", repeat=size)]


@given(expressions(), some.integers(0, 3), some.one_of(some.none(), some.integers(3, 6)))
@example("^(?:aa)+$", 3, 3)  # no number of pairs has three characters
def test_it_admits_nothing_else(pattern: str, least: int, most: int | None) -> None:
    written = grammar_pattern(pattern, least, most)
    if written is None:
        return
    matcher, stricter = Matcher(parse(pattern)), Matcher(parse(written))
    assert [text for text in TEXTS if stricter.matches(text) and not matcher.matches(text)] == []
