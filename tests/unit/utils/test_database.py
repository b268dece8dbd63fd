"""Database files that are damaged, or of another version."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from oprel.utils.database import UnusableError, fault, heal, opened

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (id TEXT PRIMARY KEY, text TEXT NOT NULL, size INTEGER NOT NULL DEFAULT 7);"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "state.db"
    with closing(opened(file, SCHEMA)) as database, database:
        database.executemany("INSERT INTO notes (id, text) VALUES (?, ?)", [(str(i), "x" * 1000) for i in range(50)])
    return file


def run(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript(script)


def overwritten(file: Path) -> None:
    with file.open("r+b") as target:
        target.seek(4096)
        target.write(os.urandom(20_000))


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "noise": lambda file: file.write_bytes(os.urandom(8192)),
    "text": lambda file: file.write_text("not a database" * 1000),
    "half": lambda file: os.truncate(file, file.stat().st_size // 2),
    "overwritten": overwritten,
    "other columns": lambda file: run(file, "DROP TABLE notes; CREATE TABLE notes (other)"),
    "no key": lambda file: run(file, "DROP TABLE notes; CREATE TABLE notes (text)"),
    "folder": folder,
    "FIFO": fifo,
    "link to itself": link_to_itself,
    "log is a folder": lambda file: file.with_name("state.db-wal").mkdir(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_cannot_be_used_is_set_aside(file: Path, damage: str) -> None:
    DAMAGE[damage](file)
    before = file.read_bytes() if file.is_file() else None
    assert fault(file, [SCHEMA])
    aside = heal(file, [SCHEMA])
    assert aside and {path.name for path in file.parent.glob("*.set-aside-*[0-9]")} == {aside.name}
    assert before is None or aside.read_bytes() == before
    with closing(opened(file, SCHEMA)) as database, database:
        database.execute("INSERT INTO notes (id, text) VALUES ('1', 'new')")
    assert heal(file, [SCHEMA]) is None


def test_a_whole_file_stays(file: Path) -> None:
    assert heal(file, [SCHEMA]) is None
    assert heal(file.with_name("absent.db"), [SCHEMA]) is None
    run(file, "ALTER TABLE notes ADD COLUMN later TEXT; PRAGMA user_version = 9; CREATE TABLE others (x)")
    assert heal(file, [SCHEMA]) is None, "of a later version, but it fits"


def test_a_file_that_was_never_closed_stays(file: Path) -> None:
    with closing(opened(file, SCHEMA)) as database:
        with database:
            database.execute("DELETE FROM notes")
        assert heal(file, [SCHEMA]) is None


def test_columns_of_a_later_version_are_added(file: Path) -> None:
    later = SCHEMA.replace(");", ", kind TEXT NOT NULL DEFAULT 'plain', note TEXT);")
    assert heal(file, [later]) is None
    with closing(opened(file, later)) as database:
        assert database.execute("SELECT kind, note FROM notes LIMIT 1").fetchone() == ("plain", None)


def test_a_table_of_another_kind_is_named(file: Path) -> None:
    run(file, "DROP TABLE notes; CREATE TABLE notes (text)")
    assert fault(file, [SCHEMA]) == "its table notes has no column id"


def test_where_nothing_can_be_written_it_is_in_memory(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(opened(file / "within", SCHEMA)) as database:
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (0,)
    assert "cannot be used" in caplog.text
    assert issubclass(UnusableError, sqlite3.Error)
