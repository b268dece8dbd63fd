from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oprel.cli.screen.wrap import NO_LIMIT, Wrapper
from tests.fixtures.screen import Screen

BOLD = "\x1b[1m"


def seen(pieces: Iterable[str], width: int, style: str = "") -> list[str]:
    """The lines on a terminal after these pieces."""
    screen, wrapper = Screen(200), Wrapper(width)
    for piece in pieces:
        screen.write(wrapper.feed(piece, style).replace("\n", "\r\n"))
    return screen.lines


def test_a_line_is_broken_between_words() -> None:
    assert seen(["one two three four"], 11) == ["one two", "three four"]


@pytest.mark.parametrize("style", ["", BOLD])
def test_a_word_that_outgrows_its_line_as_it_arrives_is_moved_whole(style: str) -> None:
    assert seen(["one two th", "re", "e fo", "ur"], 11, style) == ["one two", "three four"]


def test_a_word_is_shown_before_it_is_whole() -> None:
    assert seen(["one tw"], 80) == ["one tw"]


def test_a_word_in_two_styles_is_moved_with_both() -> None:
    wrapper = Wrapper(9)
    wrapper.feed("one t")
    wrapper.feed("wo", BOLD)
    assert wrapper.feed("three") == "\x1b[3D\x1b[K\nt\x1b[1mwo\x1b[0mthree"


def test_what_is_longer_than_a_line_is_broken_where_the_line_ends() -> None:
    assert seen(["see abcdefghij", "klmnop"], 9) == ["see", "abcdefgh", "ijklmnop"]


def test_a_break_of_the_text_is_kept() -> None:
    assert seen(["one\n\n  two"], 20) == ["one", "", "  two"]


def test_blanks_at_the_end_of_a_full_line_do_not_begin_the_next() -> None:
    assert seen(["one two", "   three"], 8) == ["one two", "three"]


def test_lines_that_continue_a_bullet_stand_under_its_text() -> None:
    wrapper, screen = Wrapper(12), Screen()
    written = wrapper.feed("• ")
    wrapper.indent = 2
    written += wrapper.feed("one two three\nfour five six")
    screen.write(written.replace("\n", "\r\n"))
    assert screen.lines == ["• one two", "  three", "four five", "six"]


def test_chinese_text_breaks_after_any_character_but_not_before_a_full_stop() -> None:
    assert Wrapper(9).feed("你好世界再见") == "你好世界\n再见"
    assert Wrapper(9).feed("你好世界。再见") == "你好世界\x1b[2D\x1b[K\n界。再见"


def test_code_is_left_as_it_is() -> None:
    code = "    x = [1, 2, 3, 4, 5, 6]\n"
    assert Wrapper(10).verbatim(code) == code


def test_without_a_limit_nothing_is_broken() -> None:
    text = "word " * 1000
    assert Wrapper(NO_LIMIT).feed(text) == text


@settings(deadline=5000)
@given(st.lists(st.text("ab c\n", max_size=12), max_size=30), st.integers(4, 40))
def test_no_line_is_too_long_and_no_word_is_lost(pieces: list[str], width: int) -> None:
    lines = seen(pieces, width)
    assert all(len(line) < width for line in lines)
    assert "".join(lines).replace(" ", "") == "".join(pieces).replace(" ", "").replace("\n", "")


@settings(deadline=5000)
@given(st.text("ab c\n", max_size=80), st.integers(4, 40))
@example("aaaa aaaa", 4)
def test_how_a_text_is_cut_into_pieces_does_not_matter(text: str, width: int) -> None:
    assert seen(text, width) == seen([text], width)
