"""Advice about files of another user."""

import os
import pwd
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.home import foreign_advice, owner_advice

STRANGER = 41234  # a user ID without a name


def test_the_owner_and_the_remedy_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    file = tmp_path / "a b"
    file.touch()
    assert owner_advice(file) == ""
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    assert owner_advice(file) == (
        f"{file} belongs to {name}, as after `sudo oprel`: `sudo chown -R {STRANGER} '{file}'`"
    )
    assert owner_advice(tmp_path / "none") == ""
    monkeypatch.setattr(os, "getuid", lambda: 0)  # who may use every file
    assert owner_advice(file) == ""


def test_the_first_file_of_another_user_in_the_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(home=str(tmp_path / "home"))
    assert foreign_advice(config) == ""
    config.logs_dir.mkdir(parents=True)
    log = config.logs_dir / "daemon.log"
    log.touch()
    real, mine = os.getuid(), {str(config.home_dir), str(config.logs_dir)}
    lstat = Path.lstat

    def owned(path: Path) -> os.stat_result:
        status = lstat(path)
        return os.stat_result((*status[:4], STRANGER if str(path) in mine else real, *status[5:]))

    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    monkeypatch.setattr(Path, "lstat", owned)
    assert foreign_advice(config).startswith(f"{log} belongs to ")
    assert foreign_advice(config).endswith(f"sudo chown -R {STRANGER} {config.home_dir}`")
