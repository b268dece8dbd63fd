"""What is on a disk that is away is told from what is gone."""

from pathlib import Path

import pytest

from oprel.core.config import Config
from oprel.core.models.disks import Disks, is_bare


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def written(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_file_that_is_there_is_not_away(tmp_path: Path, home: Path):
    assert Disks(home).away(written(tmp_path / "disk" / "m.gguf")) is None


def test_a_file_is_gone_if_its_folder_has_others(tmp_path: Path, home: Path):
    written(tmp_path / "disk" / "other.gguf")
    assert Disks(home).away(tmp_path / "disk" / "m.gguf") is None


def test_a_file_is_away_if_its_folder_is_missing(tmp_path: Path, home: Path):
    assert Disks(home).away(tmp_path / "disk" / "m.gguf") == tmp_path / "disk"


@pytest.mark.parametrize("left", ["my disk", "my disk/lost+found"])
def test_or_if_its_folder_is_a_mount_point_without_its_disk(tmp_path: Path, home: Path, left: str):
    (tmp_path / left).mkdir(parents=True)
    file, fstab = tmp_path / "my disk" / "m.gguf", tmp_path / "fstab"
    assert Disks(home, fstab=fstab).away(file) is None  # its only file was deleted
    fstab.write_text(f"# disks\nproc\nUUID=5 {tmp_path}/my\\040disk ext4 noauto 0 2\n")
    assert Disks(home, fstab=fstab).away(file) == file.parent
    written(file.with_name("other.gguf"))
    assert Disks(home, fstab=fstab).away(file) is None


def test_a_link_to_such_a_file_is_away_with_it(tmp_path: Path, home: Path):
    link = tmp_path / "m.gguf"
    link.symlink_to(tmp_path / "disk" / "m.gguf")
    assert Disks(home).away(link) == tmp_path / "disk"


def test_what_is_missing_in_the_home_is_gone(tmp_path: Path, home: Path):
    assert Disks(home, tmp_path / "cache").away(home / "hub" / "models--org--repo" / "m.gguf") is None


def test_the_cache_counts_as_a_whole(tmp_path: Path, home: Path):
    cache, file = tmp_path / "cache", tmp_path / "cache" / "models--org--repo" / "m.gguf"
    disks = Disks(home, cache)
    assert disks.away(file) == cache
    written(cache / "models--org--other" / "m.gguf")
    assert disks.away(file) is None  # somebody deleted the whole folder of the repository


def test_a_disk_that_fails_is_away(tmp_path: Path, home: Path):
    """A loop of links stands for it: the kernel cannot say whether there is a file."""
    (tmp_path / "loop").symlink_to("loop")
    assert Disks(home).away(tmp_path / "loop" / "m.gguf") == tmp_path / "loop"


def test_a_cache_may_be_on_another_disk_if_it_was_moved(tmp_path: Path, home: Path):
    assert Disks.of(Config(home=str(home))).cache is None
    assert Disks.of(Config(home=str(home), cache_dir=str(tmp_path / "disk"))).cache == tmp_path / "disk"
    (home / "hub").symlink_to(tmp_path / "disk")
    assert Disks.of(Config(home=str(home))).cache == home / "hub"


def test_a_folder_is_bare_without_files_of_anybody(tmp_path: Path):
    assert is_bare(tmp_path) and is_bare(tmp_path / "missing")
    written(tmp_path / "file")
    assert not is_bare(tmp_path) and is_bare(tmp_path / "file")
