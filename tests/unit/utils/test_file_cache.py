"""A value that was made of files holds until one of them changes, comes or goes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oprel.utils.file_cache import FileCache, states_of


def replaced(path: Path) -> None:
    """Another file of the same size and time, as a rename leaves it."""
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes()[::-1])
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_text("longer than before"),
        lambda path: os.utime(path, ns=(0, 1)),
        lambda path: path.chmod(0o600),
        lambda path: path.unlink(),
        replaced,
    ],
    ids=["size", "time", "rights", "removed", "replaced"],
)
def test_a_value_holds_until_its_file_changes(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    cache: FileCache[str] = FileCache()
    cache.put("key", "value", states_of([path]))
    assert cache.get("key") == "value"
    change(path)
    assert cache.get("key") is None


def test_a_file_that_comes_and_one_that_is_added_to_a_folder_are_changes(tmp_path: Path) -> None:
    cache: FileCache[int] = FileCache()
    cache.put("file", 1, states_of([tmp_path / "absent"]))
    cache.put("folder", 2, states_of([tmp_path]))
    assert (cache.get("file"), cache.get("folder")) == (1, 2)
    (tmp_path / "absent").touch()
    assert (cache.get("file"), cache.get("folder")) == (None, None)


def test_the_oldest_is_dropped_and_so_is_what_is_not_kept(tmp_path: Path) -> None:
    cache: FileCache[int] = FileCache(limit=2)
    for number in range(3):
        cache.put(number, number, states_of([tmp_path]))
    assert [cache.get(number) for number in range(3)] == [None, 1, 2]
    cache.keep_only({2})
    assert [cache.get(number) for number in range(3)] == [None, None, 2]
