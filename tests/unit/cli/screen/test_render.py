import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.api_models import UnloadResponse
from oprel.cli.screen import encodings, render
from oprel.core.exceptions import OprelError
from oprel.utils.text import CONTROLS

Captured = pytest.CaptureFixture[str]
# A title, a cleared screen, reversed text, C1 as a character and in bytes that are not UTF-8, a line written over.
HOSTILE = "a\x1b]0;title\x07\x1b[2J\u202eb\x9b0m\udcc2\udc9b0m\udc9b\rc\u2066"


def test_a_line_ends_and_a_piece_does_not(capsys: Captured) -> None:
    render.piece("one ")
    render.piece("two")
    render.line()
    render.line("three")
    assert capsys.readouterr() == ("one two\nthree\n", "")


def test_a_note_is_said_beside_the_output(capsys: Captured) -> None:
    render.note("by the way")
    assert capsys.readouterr() == ("", "by the way\n")


def test_an_error_says_what_happened_and_then_what_to_do(capsys: Captured) -> None:
    render.error(OprelError("it broke", "Mend it.", "Or buy another."))
    assert capsys.readouterr() == ("", "Error: it broke\n  Mend it.\n  Or buy another.\n")


def test_a_long_step_keeps_its_words_at_a_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "has_watcher", lambda: True)
    monkeypatch.setattr(render, "terminal_width", lambda output=None: 20)
    render.error(OprelError("wrong", "There are one, two, three, four-five.", "Short."))
    assert capsys.readouterr().err == "Error: wrong\n  There are one,\n  two, three,\n  four-five.\n  Short.\n"


def test_a_long_step_stays_one_line_elsewhere(capsys: Captured) -> None:
    render.error(OprelError("wrong", "word " * 300 + "end"))
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_json_is_the_whole_value(capsys: Captured) -> None:
    render.json(UnloadResponse(model="täglich", unloaded=True))
    assert json.loads(capsys.readouterr().out) == {"model": "täglich", "unloaded": True, "in_flight": 0}


def test_columns_stand_under_their_titles(capsys: Captured) -> None:
    render.table(("NAME", "SIZE"), [("a", "1 B"), ("much longer", "275 KB")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:2]] == [["NAME", "SIZE"], ["a", "1 B"]]
    assert lines[0].index("SIZE") == lines[1].index("1 B") == lines[2].index("275 KB") > len("much longer")


def test_an_empty_table_is_its_titles(capsys: Captured) -> None:
    render.table(("NAME", "SIZE"), [])
    assert capsys.readouterr().out.split() == ["NAME", "SIZE"]


def test_an_empty_cell_keeps_its_column(capsys: Captured) -> None:
    render.table(("NAME", "PID", "STATE"), [("tiny", "", "crashed")])
    titles, row = capsys.readouterr().out.splitlines()
    assert titles.index("STATE") == row.index("crashed")


def test_a_table_that_goes_to_no_terminal_is_plain_and_uncut(capsys: Captured) -> None:
    path = "/models/" + "deep/" * 60 + "tiny.gguf"
    render.table(("NAME", "STATE"), [(path, "ready")])
    assert capsys.readouterr().out.splitlines()[1] == f"{path}   ready"


def test_lines_of_a_table_have_no_trailing_blanks(capsys: Captured) -> None:
    render.table(("NAME", "UNTIL"), [("tiny", ""), ("long-name", "Forever")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]


@pytest.mark.parametrize("name", ["my [bold] model", "a[/b].gguf", "x:smile:y", "[link=file:///]"])
def test_a_cell_is_printed_as_it_is(capsys: Captured, name: str) -> None:
    render.table(("NAME",), [(name,)])
    assert capsys.readouterr().out.splitlines()[1] == name


def test_steps_are_told_once_each_beside_the_output(capsys: Captured) -> None:
    progress = render.ProgressLines()
    for percent in (0, 50, 100):
        progress.show("reading", percent, 100)
    progress.show("writing")
    progress.end()
    progress.end()
    assert capsys.readouterr() == ("", "reading\nwriting\n")


def test_output_that_goes_to_no_terminal_has_no_width(capsys: Captured) -> None:
    assert render.columns() == 0
    assert not render.has_watcher()


def show_step() -> None:
    progress = render.ProgressLines()
    progress.show(HOSTILE, 1, 3)
    progress.end()


@pytest.mark.parametrize(
    "show",
    [
        lambda: render.line(HOSTILE),
        lambda: render.verbatim(HOSTILE),
        lambda: render.piece(HOSTILE),
        lambda: render.data(HOSTILE),
        lambda: render.prose(HOSTILE, HOSTILE),
        lambda: render.command([HOSTILE, HOSTILE]),
        lambda: render.note(HOSTILE),
        lambda: render.aside(HOSTILE),
        lambda: render.error(OprelError(HOSTILE, HOSTILE)),
        lambda: render.json(UnloadResponse(model=HOSTILE.replace("\udcc2\udc9b0m\udc9b", ""), unloaded=True)),
        lambda: render.json(json.dumps(HOSTILE)),
        lambda: render.table(("NAME",), [(HOSTILE,)]),
        show_step,
    ],
    ids=range(13),
)
def test_a_strangers_text_controls_no_terminal(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, show: Callable[[], object]
) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=encodings.HANDLER)  # type: ignore[union-attr]
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    show()
    written = b"".join(capfdbinary.readouterr()).decode("utf-8", "surrogateescape")
    ours = written.replace(render.BOLD, "").replace(render.PLAIN, "").replace("\ra", "a")
    assert "title" in written and not CONTROLS.search(ours), written


def test_what_a_program_reads_is_as_it_was_written(capsys: Captured) -> None:
    render.data("\x1b[2J\r\n")
    assert capsys.readouterr().out == "\x1b[2J\r\n"


def test_a_value_in_json_stays_what_it_was(capsys: Captured) -> None:
    render.json(UnloadResponse(model="\x7f\u202e\n", unloaded=True))
    assert json.loads(capsys.readouterr().out)["model"] == "\x7f\u202e\n"


def test_no_line_of_a_message_looks_like_advice(capsys: Captured) -> None:
    render.error(OprelError("no model\nError: run this", "Look.\n  Or this."))
    assert capsys.readouterr().err == "Error: no model\n    Error: run this\n  Look.\n      Or this.\n"


def test_only_answers_bring_sequences_of_their_own() -> None:
    """Whoever calls `controlling` has to filter: besides answers, which are styled as they stream, that is nobody."""
    modules = (Path(render.__file__).parents[1]).rglob("*.py")
    callers = {path.name for path in modules if "render.controlling(" in path.read_text()}
    assert callers == {"answer_view.py"}
