"""Regular expressions as JSON Schema means them."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from oprel.utils.regex.matching import Matcher, TooComplex
from oprel.utils.regex.syntax import PatternError, parse

EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"  # zod's
PASSWORD = r"^(?=.*[A-Z])(?=.*\d).{6,}$"


def matches(pattern: str, text: str) -> bool:
    return Matcher(parse(pattern)).matches(text)


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("[0-9]", "a1b", True),
        ("[0-9]", "ab", False),
        (r"^\d{3}-\d{4}$", "123-4567", True),
        (r"^\d{3}-\d{4}$", "x123-4567", False),
        (r"\w+\s\w+", "a\u00a0b", True),
        (r"^\d$", "٣", False),
        ("^.$", "\n", False),
        ("^.$", "😀", True),
        (r"^[^\W\d_]$", "a", True),
        (r"^[\w.-]+$", "a.b-c", True),
        (r"^\p{Lu}\p{Ll}+$", "Émile", True),
        (r"^\P{L}$", "1", True),
        (r"^\u00e9\x41\u{1F600}\uD83D\uDE00\cA\0\/$", "éA😀😀\x01\0/", True),
        (r"^(?<year>\d{4})$", "2024", True),
        (r"^(?P<year>\d{4})$", "2024", True),
        (r"\Aab\Z", "ab", True),
        ("(?i)^straße$", "STRAßE", True),
        ("^a(?i:b)c$", "aBc", True),
        ("^a(?i:b)c$", "aBC", False),
        ("^a{,2}$", "a{,2}", True),
        ("^(|a)+$", "", True),
        ("^foo$|^bar$", "bar", True),
        ("(^a|b$)", "xb", True),
        (r"[\b]", "\b", True),
        (r"^[a\-z]$", "-", True),
        (r"^[\w-z]$", "-", True),
        (EMAIL, "jo.doe@example.org", True),
        (EMAIL, "jo..doe@example.org", False),
        (EMAIL, ".jo@example.org", False),
        (PASSWORD, "abcD1e", True),
        (PASSWORD, "abcde1", False),
        ("^(?!.*forbidden)", "nothing forbidden", False),
    ],
)
def test_a_pattern_means_what_json_schema_says(pattern: str, text: str, is_match: bool) -> None:
    assert matches(pattern, text) is is_match


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "does not end"),
        (")", "unbalanced"),
        ("[a", "does not end"),
        ("*a", "nothing to repeat"),
        ("a**", "is repeated"),
        ("a{3,2}", "out of order"),
        ("a{99999}", "above 2000"),
        ("[z-a]", "out of order"),
        (r"\bword\b", "not supported"),
        (r"(a)\1", "not supported"),
        ("(?<=a)b", "not supported"),
        ("(?>a)", "not supported"),
        (r"\p{Greek}", "not supported"),
        ("(?:(?=a)b)*", "not supported"),
        ("a*^b", "not supported"),
        ("(" * 500 + ")" * 500, "nested too deeply"),
        ("a" * 5000, "longer than"),
        ("\\", "not supported"),
    ],
)
def test_what_is_not_supported_is_an_error(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        Matcher(parse(pattern))


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa)+$", "^(a|a?)+$", "(a*)*b", "^(.*a){12}$"])
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    began = time.process_time()
    try:
        assert not matches(pattern, "a" * 5000 + "!")
    except TooComplex:
        pass
    assert time.process_time() - began < 10


def expressions(*more: str) -> some.SearchStrategy[str]:
    atoms = some.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", r"\d", r"\w", "", *more])

    def larger(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
        times = some.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?"])
        return some.one_of(
            some.tuples(inner, inner).map("".join),
            some.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
            some.tuples(inner, times).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
            inner.map("^{}".format),
            inner.map("{}$".format),
        )

    return some.recursive(atoms, larger, max_leaves=8)


@given(expressions("(?=a)", "(?!b|1)"), some.text("ab1", max_size=6))
def test_it_agrees_with_python_where_both_mean_the_same(pattern: str, text: str) -> None:
    try:
        matcher = Matcher(parse(pattern))
    except PatternError:
        assume(False)
    assert matcher.matches(text) is bool(re.search(pattern.replace("$", r"\Z"), text))
