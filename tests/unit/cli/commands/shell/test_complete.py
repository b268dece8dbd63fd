"""What the Tab key of a shell is told, and by a real bash what it makes of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oprel.cli.commands.shell.complete import candidates
from oprel.cli.commands.shell.completion import SCRIPTS
from oprel.cli.main import COMMANDS, build_parser, command_parsers
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests

MODELS = ["guide", "qwen:7b", "tiny"]


def completed(line: str) -> list[str]:
    return candidates(line, command_parsers(build_parser()), lambda prefix: MODELS)


def test_what_a_shell_would_not_take_as_it_is_completes_nothing() -> None:
    names = ["a\x1b[2J", "b;reboot", "c$(reboot)", "d\ne", "f g", "hf.co/A/b:Q4_K_M"]
    words = candidates("oprel run ", command_parsers(build_parser()), lambda prefix: names)
    assert words == ["hf.co/A/b:Q4_K_M"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("oprel sh", ["show"]),
        ("oprel c", ["chat", "config", "create", "cp", "cache", "crash", "completion"]),
        ("oprel run gu", ["guide"]),
        ("oprel run ", MODELS),
        ("oprel show --verbose t", ["tiny"]),
        ("oprel rm tiny g", ["guide"]),
        ("oprel cp qwen:", ["qwen:7b"]),
        ("oprel cp tiny ", []),
        ("oprel run tiny ", []),
        ("oprel run ./", []),
        ("oprel run tiny --key", []),
        ("oprel run tiny --keepa", ["--keepalive"]),
        ("oprel logs t", ["tiny"]),
        ("oprel crash s", ["show"]),
        ("oprel completion z", ["zsh"]),
        ("oprel help st", ["start", "stop"]),
        ("oprel nosuch ", []),
        ("oprel serve ", []),
    ],
)
def test_a_word_is_completed_by_what_may_stand_there(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_every_command_is_offered_and_nothing_hidden() -> None:
    offered = completed("oprel ")
    assert {*COMMANDS} <= {*offered}
    assert [word for word in offered if word.startswith("_")] == []


def test_flags_are_offered_in_full() -> None:
    assert {"--system", "--think", "--verbose", "--home"} <= {*completed("oprel run tiny --")}


@pytest.fixture
def home(tmp_path: Path, tiny: Path) -> Path:
    """A home with a model `qwen:7b`, and no daemon."""
    Manifests(Config(home=str(tmp_path)).models_dir).put(Manifest(name="qwen:7b", weights=tiny))
    return tmp_path


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("oprel ls", ["ls"]),
        ("oprel show gui", ["guide"]),
        ("oprel show qw", ["qwen:7b"]),
        ("oprel show qwen:", ["7b"]),  # bash begins a new word at the colon
        ("oprel run --hidet", ["--hidethinking"]),
        ("oprel show ./no", []),
    ],
)
def test_bash_offers_them(home: Path, tmp_path: Path, line: str, offered: list[str]) -> None:
    program = tmp_path / "oprel"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m oprel "$@"\n')
    program.chmod(0o755)
    press_tab = f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; _oprel; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "OPREL_HOME": str(home)}
    done = subprocess.run(
        ["bash", "-c", SCRIPTS["bash"] + press_tab], capture_output=True, text=True, env=environment, check=True
    )
    assert (done.stdout.split(), done.stderr) == (offered, "")
    assert not (home / "run").exists()  # no daemon was started for it


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_script_is_one_that_its_shell_can_read(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell].encode(), check=True)
