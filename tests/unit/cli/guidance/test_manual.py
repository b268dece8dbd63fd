"""Every command is in the manual, with two sentences and two examples that the real parser takes."""

import re
import shlex

import pytest

from oprel.cli import main as cli
from oprel.cli.guidance.manual import GROUPS, MANUAL
from oprel.core.configuration.environment import help_columns

EXAMPLES = [example for page in MANUAL.values() for example in page.examples]


def test_every_command_has_one_page() -> None:
    assert sorted(MANUAL) == sorted(cli.COMMANDS)
    assert sum(map(len, GROUPS.values())) == len(MANUAL)


@pytest.mark.parametrize("command", MANUAL)
def test_a_page_has_two_sentences_and_two_examples(command: str) -> None:
    page = MANUAL[command]
    assert len(re.findall(r"[.;?!](?= |$)", page.text)) >= 2, page.text
    assert len(page.examples) == 2
    assert all(re.search(rf"(^|\| )oprel ({command}\b|--version)", example) for example in page.examples)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_command_that_oprel_takes(example: str) -> None:
    words = shlex.split(example.rpartition("| ")[2])[1:]
    if words == ["--version"]:
        return
    args, rest = cli.build_parser(words[0]).parse_known_args(words)
    assert args.main
    assert not [word for word in rest if word.startswith("-")]


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize("words", [["help"], ["help", "run"], ["help", "cache"], ["help", "serve"]], ids=" ".join)
def test_help_fits_the_terminal(
    words: list[str], columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    help_columns.cache_clear()
    assert cli.main(words) == 0
    help_columns.cache_clear()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(columns)


def test_the_help_of_a_command_ends_with_its_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "ps"]) == 0
    out = capsys.readouterr().out
    assert "Models that wait for memory are listed too" in re.sub(r"\s+", " ", out)
    assert out.endswith("\nexamples:\n  oprel ps\n  oprel ps --wide\n")
