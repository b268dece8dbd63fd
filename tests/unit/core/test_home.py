"""Advice about files of another user, and where temporary files go when the system has no place for them."""

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.home import ensure_temporary_folder, foreign_advice, home_instead_of, owner_advice

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


@pytest.fixture
def no_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/none"])
    monkeypatch.setenv("TMPDIR", "/dev/null/none")


def test_a_system_with_temporary_files_is_left_alone(tmp_path: Path):
    before = tempfile.gettempdir()
    ensure_temporary_folder(Config(home=str(tmp_path / "home")))
    assert tempfile.gettempdir() == before and not (tmp_path / "home").exists()


def test_else_they_are_made_in_the_home_privately(tmp_path: Path, no_temporary_files: None):
    for _ in range(2):
        ensure_temporary_folder(Config(home=str(tmp_path / "home")))
    with tempfile.NamedTemporaryFile() as file:
        assert Path(file.name).parent == tmp_path / "home" / "tmp" == Path(os.environ["TMPDIR"])
    assert (tmp_path / "home" / "tmp").stat().st_mode & 0o777 == 0o700


def test_without_any_place_the_advice_is_to_name_one(tmp_path: Path, no_temporary_files: None):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no folder for temporary files") as caught:
        ensure_temporary_folder(Config(home=str(tmp_path / "file")))
    assert "TMPDIR" in caught.value.resolution_steps[0]


def test_a_user_without_a_home_may_have_only_that_of_oprel(tmp_path: Path, no_temporary_files: None):
    assert home_instead_of("/", oprel_home=str(tmp_path)) == str(tmp_path)
    with pytest.raises(ConfigError, match="no home folder"):
        home_instead_of("/", oprel_home="")


def test_the_run_folder_of_a_long_path_is_then_in_the_home(tmp_path: Path, no_temporary_files: None):
    home = tmp_path / ("long" * 25)
    assert Config(home=str(home)).run_dir == home / "run"
