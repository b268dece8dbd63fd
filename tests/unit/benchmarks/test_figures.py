"""What benches do with their figures: ratios, budgets, tables, plots and pages."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from benchmarks import budgets, document, results, table
from benchmarks.budgets import Budget, Verdict
from benchmarks.figures import BASE, ENGINE, OPREL, Figure, percentile, spread
from benchmarks.plots import plot
from benchmarks.results import Results
from benchmarks.run import chosen, names

RATE = Figure(
    subject="replay",
    name="NDJSON: tokens/s",
    unit="/s",
    rounds={OPREL: (900.0, 1000.0, 1100.0), BASE: (100.0, 100.0, 100.0)},
    streams=1,
)
WAIT = Figure(subject="first-token", name="median", unit="ms", rounds={OPREL: (8.0, 9.0), ENGINE: (7.0, 7.0)})
GROWTH = [replace(RATE, streams=streams) for streams in (1, 8, 32, 128)]
RESULTS = Results(commit="abc", base="", cpus=2, python="3.11", rounds=3, loads={"replay": (0.5, 1.0)}, figures=GROWTH)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.75, 3), (0.99, 4), (0.0, 1)])
def test_percentiles_are_values_that_occurred(share, value):
    assert percentile([4, 1, 3, 2], share) == value


def test_the_spread_is_half_the_range_as_a_share_of_the_median():
    assert spread([900.0, 1000.0, 1100.0]) == pytest.approx(0.1)
    assert spread([0.0]) == 0


def test_sides_are_compared_round_by_round():
    assert RATE.ratios(BASE) == [9, 10, 11]
    assert WAIT.differences(ENGINE) == [1, 2]


def test_a_line_has_the_figure_and_what_is_beside_it():
    assert table.line(RATE).split("   ")[-1] == "commit before 100 ±0%: ÷ 10 (9 to 11)"
    assert "NDJSON: tokens/s, 1 stream " in table.line(RATE)


@pytest.mark.parametrize(
    ("budget", "passes"),
    [
        (Budget(subject="replay", figure=RATE.title, over=BASE, at_least=10.0), True),
        (Budget(subject="replay", figure=RATE.title, over=BASE, at_least=10.1), False),
        (Budget(subject="replay", figure=RATE.title, at_most=999.0), False),
        (Budget(subject="first-token", figure="median", minus=ENGINE, at_most=1.5), True),
        (Budget(subject="first-token", figure="median", minus=ENGINE, at_most=1.4), False),
    ],
)
def test_a_budget_bounds_the_median(budget, passes):
    (verdict,) = budgets.verdicts([budget], [RATE, WAIT])
    assert verdict.passes is passes
    assert table.verdict_line(verdict).startswith("ok" if passes else "MISS")


def test_a_budget_does_not_count_where_its_side_was_not_measured():
    alone = replace(RATE, rounds={OPREL: (1.0,)})
    assert not list(budgets.verdicts([Budget(subject="replay", figure=RATE.title, over=BASE, at_least=9)], [alone]))


def test_the_budget_file_names_subjects_that_there_are():
    limits = budgets.read()
    assert {budget.subject for budget in limits} <= set(names())
    assert all(budget.bound and not (budget.over and budget.minus) for budget in limits)


def test_results_come_back_from_their_files_and_the_later_run_counts(tmp_path):
    again = replace(RESULTS, commit="def", loads={"replay": (2.0, 2.0)}, figures=[RATE])
    files = [tmp_path / "first.json", tmp_path / "again.json", tmp_path / "other.json"]
    other = replace(again, loads={"first-token": (0.0, 0.0)}, figures=[WAIT])
    for run, file in zip((RESULTS, again, other), files, strict=True):
        results.write(run, file)
    found = results.read(files)
    assert (found.figures, found.commit) == ([RATE, WAIT], "def")
    assert {subject: tuple(both) for subject, both in found.loads.items()} == {**again.loads, **other.loads}


def test_a_plot_has_a_line_for_each_side():
    drawing = ElementTree.fromstring(plot("<tokens/s>", GROWTH))
    texts = [text.text for text in drawing.iterfind("{*}text")]
    assert len(list(drawing.iterfind("{*}path"))) == 2
    assert {"<tokens/s>", OPREL, BASE, "1", "128", "1000"} <= set(texts)


def test_the_page_has_each_figure_and_shows_the_plots(tmp_path):
    page = tmp_path / "performance.md"
    missed = Budget(subject="replay", figure=RATE.title, over=BASE, at_least=11.0)
    document.write(RESULTS, [missed], page)
    text = page.read_text()
    assert "| replay | NDJSON: tokens/s, 1 stream ÷ commit before | ≥ 11 | 10 (9 to 11) | missed |" in text
    assert "Load average 0.5 before, 1.0 after." in text
    assert text.count("commit before 100 ±0%: ÷ 10") == len(GROWTH)
    (drawing,) = tmp_path.glob("*.svg")
    assert f"]({drawing.name})" in text


def test_a_subject_that_there_is_not_is_refused_by_name():
    assert chosen(["all"]) == names()
    with pytest.raises(SystemExit, match="no subject is called fast"):
        chosen(["fast"])


def test_a_verdict_is_that_of_the_median():
    assert Verdict(Budget(subject="", figure="", at_most=2), (1.0, 9.0, 2.0)).passes
