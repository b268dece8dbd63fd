"""What the wheel has beside the package: a manual page with everything that the command line has, and addresses."""

import re
import shutil
import subprocess

import pytest

from oprel.cli.main import COMMANDS, build_parser, command_parsers
from oprel.core.config import SETTINGS
from tools.packaging.man_page import man_page
from tools.packaging.project_addresses import addresses
from tools.packaging.shared_files import COMPLETIONS


@pytest.fixture(scope="module")
def page() -> str:
    return man_page()


def test_every_command_flag_and_setting_is_in_it(page: str) -> None:
    plain = page.replace("\\-", "-")
    parsers = command_parsers(build_parser())
    for name in COMMANDS:
        assert f".SS oprel {name}\n" in plain
        flags = {flag for action in parsers[name]._actions for flag in action.option_strings if action.help}
        assert [flag for flag in flags - {"-h", "--help"} if flag not in plain] == [] or name == "serve"
    assert [name for name in SETTINGS if f"OPREL_{name.upper()}" not in plain] == []


def test_it_is_text_without_escapes_of_escapes(page: str) -> None:
    assert "\\\\-" not in page and not re.search(r"^'", page, re.MULTILINE)
    assert not re.search(r"^\.(?!TH|SH|SS|TP|PP|br|B |I )", page, re.MULTILINE)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_groff_has_nothing_to_say_against_it(page: str) -> None:
    command = ["groff", "-ww", "-b", "-man", "-Tutf8", "-z"]
    done = subprocess.run(command, input=page.encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_completions_are_made_for_every_shell() -> None:
    from oprel.cli.commands.shell.completion import SCRIPTS

    assert COMPLETIONS.keys() == SCRIPTS.keys()


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("git@git.example:me/oprel.git", "https://git.example/me/oprel"),
        ("ssh://git@git.example/me/oprel.git", "https://git.example/me/oprel"),
        ("https://me:secret@git.example/me/oprel/", "https://git.example/me/oprel"),
        ("/srv/git/oprel.git", None),
        ("", None),
    ],
)
def test_the_addresses_are_those_of_the_clone(remote: str, source: str | None) -> None:
    assert addresses(remote).get("Source") == source
