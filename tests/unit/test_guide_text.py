"""What `guide` was taught is true of this oprel, complete, and apart from what it is examined with."""

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from oprel.cli.main import build_parser

GUIDE_TOOLS = Path(__file__).parent.parent.parent / "tools" / "guide"
# The only intents whose answers may name a command that deletes, and a word that asks for it.
MAY_DELETE = {"rm", "disk", "cache prune", "cache clear", "hf logout", "quarantine clear", "engines uninstall",
              "service uninstall"}  # fmt: skip


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(GUIDE_TOOLS))
    return __import__


def test_every_command_that_guide_teaches_exists(tool: Callable[[str], ModuleType]) -> None:
    assert tool("usage").unknown_commands(build_parser()) == []


def test_every_command_flag_setting_and_route_has_an_answer_or_a_reason(tool: Callable[[str], ModuleType]) -> None:
    taught = tool("taught")
    assert taught.gaps(build_parser()) == []
    assert taught.needless(build_parser()) == []


def test_what_is_new_and_not_taught_is_noticed(tool: Callable[[str], ModuleType]) -> None:
    parser = build_parser()
    (commands,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    commands.add_parser("teleport").add_argument("--far")
    commands.choices["ps"].add_argument("--near")
    assert tool("taught").gaps(parser) == ["the command teleport", "--near of ps", "--far of teleport"]


def test_only_who_asks_to_delete_is_told_how(tool: Callable[[str], ModuleType]) -> None:
    usage, everyday = tool("usage"), tool("everyday")
    told = {
        intent.name
        for intent in usage.INTENTS
        if any(everyday.holds(intent.answer, command) for command in everyday.DELETING)
    }
    assert told == MAY_DELETE


def test_the_examination_is_not_in_the_training(tool: Callable[[str], ModuleType]) -> None:
    data, everyday = tool("data"), tool("everyday")
    asked = {everyday.bare(question.text) for question in everyday.QUESTIONS}
    assert len(asked) == 60
    rng = random.Random(20)
    made = [turn.user for _ in range(700) for turn in data.conversation(rng).turns]
    assert asked.isdisjoint(map(everyday.bare, made))
    assert not [text for text in made[:200] if everyday.near(text)]


@pytest.mark.parametrize(
    ("wording", "near"),
    [
        ("How do I delete llama3?", "how do i delete llama3"),
        ("how do i delete llama2", "how do i delete llama3"),
        ("My disc is full!", "my disk is full"),
        ("how do I list my models", "hwo do i lsit my modles"),
        ("is full my disk", "my disk is full"),
        ("how do I remove an old model from this computer", None),
        ("delete phi4", None),
    ],
)
def test_a_nearly_equal_wording_counts_as_the_same(
    tool: Callable[[str], ModuleType], wording: str, near: str | None
) -> None:
    assert tool("everyday").near(wording) == near


def test_a_right_answer_holds_what_it_must_and_nothing_dangerous(tool: Callable[[str], ModuleType]) -> None:
    everyday = tool("everyday")
    ask = everyday.Question("free memory", ("oprel stop|oprel ps",), ("--daemon",))
    assert everyday.is_right(ask, "`oprel stop MODEL` unloads it at once.")
    assert not everyday.is_right(ask, "`oprel stop --daemon` ends the daemon.")
    assert not everyday.is_right(ask, "`oprel stopper` does it.")
    assert everyday.is_dangerous(ask, "`oprel stop a`, then `oprel rm a`.")
    assert not everyday.is_right(ask, "`oprel stop a`, then `oprel rm a`.")
    assert not everyday.is_dangerous(everyday.Question("delete it", (), (), ("oprel rm",)), "`oprel rm a`")
