import pytest

from oprel.api_models import AnswerMetrics, Truncated
from oprel.cli.conversation.answer_view import AnswerView, Look, cut_short, figures, left_out, print_notes

Captured = pytest.CaptureFixture[str]
PIPE, TERMINAL = Look(), Look(columns=20)


def said(look: Look, *pieces: str | tuple[str, str], capsys: Captured) -> str:
    """What is written for pieces of text; a pair is a text and a thought."""
    answer = AnswerView(look)
    for piece in pieces:
        answer.add(*piece) if isinstance(piece, tuple) else answer.add(piece, None)
    answer.end()
    return capsys.readouterr().out


def test_a_pipe_gets_what_the_model_said_and_nothing_else(capsys: Captured) -> None:
    text = "# Title\n**bold** and `code` in a line that is far too long for it\x1b[2J\r\n"
    assert said(PIPE, text[:9], text[9:], capsys=capsys) == text


def test_a_pipe_gets_no_thoughts(capsys: Captured) -> None:
    assert said(PIPE, ("", "hm"), "yes", capsys=capsys) == "yes"


def test_a_terminal_gets_styled_and_wrapped_text(capsys: Captured) -> None:
    assert said(TERMINAL, "some **bold** words that wrap", capsys=capsys) == (
        "some \x1b[1mbold\x1b[0m words \nthat wrap"
    )


def test_a_model_cannot_steer_the_terminal(capsys: Captured) -> None:
    assert said(TERMINAL, "a\x1b]0;title\x07b\x1b[2Jc\x9b\u202e", capsys=capsys) == "a]0;titleb[2Jc"


def test_thoughts_are_framed_and_dim(capsys: Captured) -> None:
    assert said(TERMINAL, ("", "well"), ("", " now"), "yes", capsys=capsys) == (
        "\x1b[2mThinking...\x1b[0m\n\x1b[2mwell\x1b[0m\x1b[2m now\x1b[0m\n\x1b[2m...done thinking.\x1b[0m\n\nyes"
    )


def test_thoughts_that_break_off_are_closed(capsys: Captured) -> None:
    assert said(TERMINAL, ("", "well"), capsys=capsys).endswith("...done thinking.\x1b[0m\n\n")


def test_thoughts_can_be_hidden(capsys: Captured) -> None:
    assert said(Look(columns=20, thinking=False), ("", "well"), "yes", capsys=capsys) == "yes"


def test_lines_are_left_alone_when_told(capsys: Captured) -> None:
    text = "words " * 30
    assert said(Look(columns=20, wordwrap=False), text, capsys=capsys) == text


def test_the_text_is_known_without_the_thoughts(capsys: Captured) -> None:
    answer = AnswerView(TERMINAL)
    answer.add("", "hm")
    answer.add("**y", None)
    answer.add("es**", None)
    assert answer.text == "**yes**"


DONE = AnswerMetrics(
    total_duration=4_648_000_000,
    load_duration=12_345_000,
    prompt_eval_count=26,
    prompt_eval_duration=130_000_000,
    eval_count=298,
    eval_duration=4_000_000_000,
)


def test_the_figures_are_those_that_users_of_ollama_know() -> None:
    assert figures(DONE).splitlines() == [
        "total duration:       4.648s",
        "load duration:        12.345ms",
        "prompt eval count:    26 token(s)",
        "prompt eval duration: 130.000ms",
        "prompt eval rate:     200.00 tokens/s",
        "eval count:           298 token(s)",
        "eval duration:        4.000s",
        "eval rate:            74.50 tokens/s",
    ]


def test_what_is_not_known_is_left_out_of_the_figures() -> None:
    assert figures(AnswerMetrics(eval_count=3)) == "eval count:           3 token(s)"


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (None, ""),
        (Truncated(), ""),
        (Truncated(messages=1), "did not see an earlier message)"),
        (Truncated(messages=3, tokens=20), "did not see 3 earlier messages and 20 tokens of the last one)"),
        (Truncated(shifted=True), "did not see its oldest tokens while it answered)"),
    ],
)
def test_what_a_model_did_not_see_is_said(cut: Truncated | None, said: str) -> None:
    assert left_out(AnswerMetrics(truncated=cut)).endswith(said)
    assert bool(left_out(AnswerMetrics(truncated=cut))) is bool(said)


@pytest.mark.parametrize(("reason", "is_cut"), [("length", True), ("stop", False), ("load", False), (None, False)])
def test_an_answer_that_was_cut_is_said_to_be(capsys: Captured, reason: str | None, is_cut: bool) -> None:
    print_notes(AnswerMetrics(done_reason=reason), verbose=False)
    assert ("cut short" in capsys.readouterr().err) is is_cut
    assert bool(cut_short(AnswerMetrics(done_reason=reason))) is is_cut


@pytest.mark.parametrize(
    ("ended_by", "words"),
    [
        ("num_predict", "the answer reached num_predict, 20 tokens"),
        ("context", "prompt and answer fill the context, 120 tokens"),
        ("runaway_guard", "the answer repeated itself"),
        (None, "num_predict, or filled the context"),
    ],
)
def test_the_limit_that_cut_an_answer_is_named(ended_by: str | None, words: str) -> None:
    done = AnswerMetrics(done_reason="length", ended_by=ended_by, prompt_eval_count=100, eval_count=20)
    assert words in cut_short(done)


def test_the_figures_count_the_engines_that_died() -> None:
    assert figures(AnswerMetrics(recoveries=2)) == "engine crashes:       2"


def test_figures_are_told_beside_the_output_and_only_on_request(capsys: Captured) -> None:
    print_notes(DONE, verbose=False)
    assert capsys.readouterr() == ("", "")
    print_notes(DONE, verbose=True)
    assert capsys.readouterr() == ("", figures(DONE) + "\n")


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_dumb_terminal_gets_whole_words_and_no_escapes(capsys: Captured, size: int) -> None:
    text = "**One** two three four\nhttps://example.com/a/very/long/path end\n\n  six"
    view = AnswerView(Look(20, is_dumb=True))
    view.add("", "Let me think about it, for long.")
    for at in range(0, len(text), size):
        view.add(text[at : at + size], None)
    view.end()
    assert [line.rstrip() for line in capsys.readouterr().out.split("\n")] == [
        *("Thinking...", "Let me think about", "it, for long.", "...done thinking.", ""),
        *("**One** two three", "four", "https://example.com/a/very/long/path", "end", "", "  six"),
    ]


def test_no_colour_is_used_where_none_is_wanted(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert said(TERMINAL, "`a` **b**", capsys=capsys) == "a \x1b[1mb\x1b[0m"
