"""`oprel config`: what is set and where, and a file that is changed only if it stays valid."""

import json
import re
from pathlib import Path

import pytest
import yaml

from oprel.cli.main import main
from oprel.core.config import SETTINGS, load_config
from oprel.core.configuration.template import template


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the configuration file belongs."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("OPREL_HOME", str(tmp_path / "home"))
    return tmp_path / "oprel" / "config.yaml"


@pytest.fixture
def written(file: Path) -> Path:
    file.parent.mkdir()
    file.write_text("ctx_size: 256\n")
    return file


def editor(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make a shell script the editor, which has a flag as many have; its file is $1."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\nshift\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("VISUAL", f"{program} --wait")


def rows(text: str) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in (line.split() for line in text.splitlines())}


def test_every_setting_is_shown_with_where_it_is_set(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPREL_PARALLEL", "2")
    assert main(["config"]) == 0
    shown = rows(capsys.readouterr().out)
    assert shown.keys() == {"SETTING", *SETTINGS}
    assert shown["ctx_size"] == ["256", f"{written}:1"]
    assert shown["parallel"] == ["2", "OPREL_PARALLEL"]
    assert shown["keep_alive"] == ["5m", "default"]


def test_only_what_is_set_can_be_shown(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--changed"]) == 0
    assert [*rows(capsys.readouterr().out)] == ["SETTING", "home", "ctx_size"]


def test_as_json_it_is_what_the_daemon_answers(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPREL_HF_ENDPOINT", "https://me:secret@mirror.example")
    assert main(["config", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["settings"]}
    assert entries["ctx_size"] == {"name": "ctx_size", "value": 256, "default": 0, "origin": f"{written}:1"}
    assert entries["hf_endpoint"]["value"] == "https://***@mirror.example"


def test_the_path_is_that_of_the_file_to_come_too(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "path"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{file}\n" and "no such file yet" in said.err


def test_validate_reports_everything(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "validate"]) == 0
    assert capsys.readouterr() == (f"{written} is valid\n", "")
    written.write_text("paralel: 2\nctx_size: many\n")
    monkeypatch.setenv("OPREL_N_THREADS", "some")
    monkeypatch.setenv("OPREL_KEEPALIVE", "5m")
    assert main(["config", "validate"]) == 2
    said = capsys.readouterr().err
    for text in (
        f"{written}:1: unknown key 'paralel'\n  Did you mean parallel?",
        f"{written}:2: ctx_size must be a whole number",
        "OPREL_N_THREADS: n_threads must be a whole number",
        "OPREL_KEEPALIVE has no meaning: did you mean OPREL_KEEP_ALIVE?",
    ):
        assert text in said


def test_a_new_file_has_every_setting_as_a_comment(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(tmp_path, monkeypatch, """sed -i 's/^# ctx_size: 0$/ctx_size: 128/' "$1" """)
    assert main(["config", "edit"]) == 0
    assert capsys.readouterr().out == f"wrote {file}: `oprel restart` puts it into effect\n"
    assert load_config(environ={"OPREL_CONFIG": str(file)}).ctx_size == 128
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_a_file_that_became_invalid_is_not_written(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(tmp_path, monkeypatch, """echo 'paralel: 2' >> "$1" """)
    assert main(["config", "edit"]) == 2
    assert f"{written}:2: unknown key 'paralel'\n  Did you mean parallel?" in capsys.readouterr().err
    assert [path.read_text() for path in written.parent.iterdir()] == ["ctx_size: 256\n"]


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 1)])
def test_without_a_change_nothing_is_written(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: int
) -> None:
    editor(tmp_path, monkeypatch, script)
    before = written.stat().st_mtime_ns
    assert main(["config", "edit"]) == status
    assert written.stat().st_mtime_ns == before


def test_a_link_stays_one(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tmp_path / "dotfiles.yaml"
    written.replace(real)
    written.symlink_to(real)
    editor(tmp_path, monkeypatch, """echo 'parallel: 2' >> "$1" """)
    assert main(["config", "edit"]) == 0
    assert written.is_symlink() and real.read_text() == "ctx_size: 256\nparallel: 2\n"


def test_the_template_sets_nothing_and_has_each_default() -> None:
    assert yaml.safe_load(template()) is None
    uncommented = re.sub(r"^# (?=\w+: )", "", template(), flags=re.MULTILINE)
    assert yaml.safe_load(uncommented) == {name: entry.default for name, entry in SETTINGS.items()}
