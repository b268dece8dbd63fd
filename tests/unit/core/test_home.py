"""Where temporary files go when the system has no place for them."""

import os
import tempfile
from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import ConfigError
from oprel.core.home import ensure_temporary_folder, home_instead_of


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
