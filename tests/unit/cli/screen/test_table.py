"""How tables fit their terminals."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oprel.cli.screen.table import Column, ColumnChoice, cell_width, drawn, shorter_name, shorter_path, wrapped
from oprel.core.names import ModelRef, spellings

LONG = "hf.co/unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF:Q4_K_M"
COLUMNS = (Column("NAME", shorter=shorter_name), Column("ID", 1), Column("SIZE"), Column("SOURCE", 2))
ROWS = [["tiny:latest", "0123456789ab", "275 KB", "bundled"], [LONG, "ba9876543210", "18 GB", "hf.co"]]


def test_elsewhere_than_at_a_terminal_each_row_is_one_line_in_full() -> None:
    assert [line.split() for line in drawn(COLUMNS, ROWS, 0).lines[1:]] == [
        ["tiny:latest", "0123456789ab", "275", "KB", "bundled"],
        [LONG, "ba9876543210", "18", "GB", "hf.co"],
    ]


def test_the_columns_that_matter_least_are_left_out_first() -> None:
    assert drawn(COLUMNS, ROWS, 120).titles == ["NAME", "ID", "SIZE", "SOURCE"]
    assert drawn(COLUMNS, ROWS, 80).titles == ["NAME", "ID", "SIZE"]
    assert drawn(COLUMNS, ROWS, 60).titles == ["NAME", "SIZE"]


def test_a_name_is_shortened_only_where_it_does_not_fit() -> None:
    assert LONG in drawn(COLUMNS, ROWS, 120).lines[2]
    assert LONG.removeprefix("hf.co/") in drawn(COLUMNS, ROWS, 80).lines[2]
    assert LONG not in drawn(COLUMNS, ROWS, 80).lines[2]


def test_a_name_that_is_longer_than_its_column_has_a_line_of_its_own() -> None:
    assert drawn(COLUMNS, ROWS, 50).lines == [
        f"NAME{' ' * 37}   SIZE",
        f"tiny{' ' * 37}   275 KB",
        LONG.removeprefix("hf.co/"),
        f"{' ' * 41}   18 GB",
    ]


def test_wide_shows_everything_and_columns_what_they_name() -> None:
    assert drawn(COLUMNS, ROWS, 60, ColumnChoice(wide=True)) == drawn(COLUMNS, ROWS, 0)
    assert drawn(COLUMNS, ROWS, 60, ColumnChoice(("size", "name"))).titles == ["SIZE", "NAME"]


def test_names_that_would_become_equal_stay_as_they_are() -> None:
    rows = [["hf.co/a/b:Q8_0", "", "", ""], ["a/b:Q8_0", "", "", ""]]
    assert [line.split()[0] for line in drawn(COLUMNS, rows, 20).lines[1:]] == ["hf.co/a/b:Q8_0", "a/b:Q8_0"]


@given(
    names=st.lists(st.text("abc:/.", min_size=1, max_size=25), min_size=1, max_size=4),
    text=st.lists(st.text("xyzé漢", min_size=1, max_size=12), max_size=30).map(" ".join),
    width=st.integers(60, 200),
)
def test_no_line_is_wider_than_the_terminal(names: list[str], text: str, width: int) -> None:
    columns = (*COLUMNS, Column("WHY", wraps=True))
    lines = drawn(columns, [[name, "0123456789ab", "275 KB", "bundled", text] for name in names], width).lines
    assert max(map(cell_width, lines)) <= width
    assert [*"".join(lines)].count("漢") == text.count("漢") * len(names)


@pytest.mark.parametrize("name", ["tiny:latest", "tiny:q4", LONG, "hf.co/gpt2:F16", "user/tiny:latest"])
def test_a_shorter_name_means_the_same_model(name: str) -> None:
    assert ModelRef.parse(shorter_name(name)).key in spellings(ModelRef.parse(name))


def test_a_shorter_path_is_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "here" / "m.gguf"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert shorter_path(str(file)) == "~/here/m.gguf"
    file.parent.mkdir()
    monkeypatch.chdir(file.parent)
    assert shorter_path(str(file)) == "./m.gguf"
    file.parent.rmdir()
    assert shorter_path(str(file)) == "~/here/m.gguf"


def test_text_wraps_between_words_and_keeps_its_indent() -> None:
    assert wrapped("  one two three-and-more four", 12, "  ") == ["  one two", "  three-and-more", "  four"]


def test_a_command_in_a_text_stays_in_one_line() -> None:
    assert wrapped("Run `oprel bench memory` now.", 22) == ["Run", "`oprel bench memory`", "now."]
    assert wrapped("Run `oprel bench memory` now.", 14) == ["Run `oprel", "bench memory`", "now."]
