from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oprel.cli.screen.markdown import BOLD, CODE, DIM, ITALIC, LONGEST_WAIT, Markdown, Span


def spans(text: str, pieces: int = 1) -> list[Span]:
    """What is shown of a text that arrives in pieces of this length (all at once: 1 piece)."""
    markdown = Markdown()
    parts = [text] if pieces == 1 else list(text)
    return [span for part in parts for span in markdown.feed(part)] + [*markdown.end()]


def shown(text: str, pieces: int = 1) -> list[tuple[str, str]]:
    """Texts with their styles, neighbours of one style put together."""
    grouped = groupby(spans(text, pieces), key=lambda span: span.style)
    return [("".join(span.text for span in group), style) for style, group in grouped]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("plain", "")]),
        ("a **b c** d", [("a ", ""), ("b c", BOLD), (" d", "")]),
        ("run `oprel ps` now", [("run ", ""), ("oprel ps", CODE), (" now", "")]),
        ("``a`b``", [("a`b", CODE)]),
        ("**`x`**", [("x", BOLD + CODE)]),
        ("`**kwargs`", [("**kwargs", CODE)]),
        ("# Title\ntext", [("Title", BOLD), ("\ntext", "")]),
        ("#hashtag", [("#hashtag", "")]),
        ("- one\n* two", [("• one\n• two", "")]),
        ("1. one\n2) two", [("1. one\n2) two", "")]),
        ("-1 and --flag", [("-1 and --flag", "")]),
        ("2 * 3 * 4 ** 5, 2**3", [("2 * 3 * 4 ** 5, 2**3", "")]),
        ("*so* and f(*args, **kwargs)", [("so", ITALIC), (" and f(*args, **kwargs)", "")]),
        ("***very***", [("***very***", "")]),
        ("**never closed\nnext", [("**never closed\nnext", "")]),
        ("the ` key", [("the ` key", "")]),
        ("ends in `", [("ends in `", "")]),
        ("| a | **b** |", [("| a | **b** |", "")]),
        ("---\n***", [("---\n***", "")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "by characters"])
def test_markers_become_styles(text: str, expected: list[tuple[str, str]], pieces: int) -> None:
    assert shown(text, pieces) == expected


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "by characters"])
def test_a_block_of_code_is_shown_as_it_is(pieces: int) -> None:
    text = "So:\n```python\n# **no** title\n- x = `y`\n```\nDone **now**."
    assert shown(text, pieces) == [
        ("So:\n", ""),
        ("```python", DIM),
        ("\n", ""),
        ("# **no** title", CODE),
        ("\n", ""),
        ("- x = `y`", CODE),
        ("\n", ""),
        ("```", DIM),
        ("\nDone ", ""),
        ("now", BOLD),
        (".", ""),
    ]


def test_code_and_tables_are_not_wrapped() -> None:
    lines = {span.text: span.wraps for span in spans("text\n```\ncode\n```\n| table |\nmore")}
    assert lines["code"] is lines["| table |"] is False
    assert lines["text"] is lines["more"] is True


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "by characters"])
def test_a_fence_of_four_is_closed_by_four(pieces: int) -> None:
    assert shown("````\n```\n````\n**x**", pieces)[2:] == [
        ("```", CODE),
        ("\n", ""),
        ("````", DIM),
        ("\n", ""),
        ("x", BOLD),
    ]


def test_lines_after_a_bullet_are_indented() -> None:
    assert [span.indent for span in spans("  - one") if span.indent] == [4]
    assert [span.indent for span in spans("12. one") if span.indent] == [4]


def test_a_marker_does_not_wait_for_ever() -> None:
    text = "**" + "a" * LONGEST_WAIT
    assert "".join(span.text for span in Markdown().feed(text)) == text


def test_a_word_is_not_held_back() -> None:
    assert [span.text for span in Markdown().feed(" hel")] == [" hel"]


@settings(deadline=5000)
@given(st.text("a *`#-|\n1.~", max_size=60))
def test_how_a_text_is_cut_into_pieces_does_not_matter(text: str) -> None:
    assert shown(text, 2) == shown(text)


@settings(deadline=5000)
@given(st.text("ab c\n,;", max_size=60))
def test_text_without_markers_is_shown_as_it_is(text: str) -> None:
    assert "".join(span.text for span in spans(text)) == text
