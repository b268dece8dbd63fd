"""Other words lead to the command or the flag that does what they mean."""

import re

import pytest

from oprel.cli import main as cli
from oprel.cli.guidance.synonyms import ADVICE, FLAG_ADVICE, FLAG_SYNONYMS, SYNONYMS, hint_for_command, hint_for_flag
from oprel.cli.main import ALIASES, COMMANDS

NAMES = [*COMMANDS, *ALIASES]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("download qwen3", "oprel pull qwen3"),
        ("delete llama3", "oprel rm llama3"),
        ("remove llama3", "oprel rm llama3"),
        ("kill llama3", "oprel stop llama3"),
        ("status", "oprel ps"),
        ("benchmark run guide", "oprel bench run guide"),
        ("downlaod qwen3", "oprel pull qwen3"),
        ("Run guide", "oprel run guide"),
        ("recommend qwen3", "oprel plan qwen3"),
        ("shwo guide", "oprel show guide"),
    ],
)
def test_a_synonym_leads_to_the_command(words: str, command: str) -> None:
    assert hint_for_command(words.split(), NAMES) == f"Did you mean `{command}`?"


def test_a_word_like_no_other_has_no_hint() -> None:
    assert hint_for_command(["frobnicate"], NAMES) == ""


def test_synonyms_are_no_commands_and_mean_one_thing() -> None:
    words = [word for words in SYNONYMS.values() for word in words] + [*ADVICE]
    assert len(words) == len({*words})
    assert not {*words} & {*NAMES}
    assert SYNONYMS.keys() <= COMMANDS.keys()


@pytest.mark.parametrize(
    ("command", "flag", "hint"),
    [
        ("run", "--image", "Write the path of the picture into the prompt"),
        ("run", "--temp", "Did you mean --temperature?"),
        ("chat", "--max-tokens", "Did you mean --num-predict?"),
        ("run", "--n-ctx", "Did you mean --num-ctx?"),
        ("serve", "--port", "Did you mean --server-port?"),
        ("serve", "--prot", "Did you mean --server-port?"),
        ("run", "--no-think", "Did you mean --think=false?"),
        ("list", "--full", "Did you mean --wide?"),
        ("list", "--jsn", "Did you mean --json?"),
        ("run", "--prompt", "Write the prompt after the model"),
        ("ps", "--frobnicate", ""),
    ],
)
def test_a_flag_of_another_program_leads_to_ours(command: str, flag: str, hint: str) -> None:
    flags = cli.command_parsers(cli.build_parser(command))[command]._option_string_actions
    assert hint_for_flag(flag, flags).startswith(hint)
    assert bool(hint) == bool(hint_for_flag(flag, flags))


def test_every_hint_about_flags_names_a_flag_or_command_that_exists() -> None:
    parsers = cli.command_parsers(cli.build_parser())
    flags = {flag for parser in parsers.values() for flag in parser._option_string_actions}
    assert {flag.partition("=")[0] for flag in FLAG_SYNONYMS.values()} <= flags
    for advice in (*FLAG_ADVICE.values(), *ADVICE.values()):
        assert {*re.findall(r"`oprel ([a-z-]+)", advice)} <= {*parsers}
