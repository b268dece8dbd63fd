"""A SQLite file that needs no repair by hand: what cannot be used is set aside, and begun anew."""

import logging
import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from oprel.utils.files import set_aside

logger = logging.getLogger(__name__)

BESIDE = ("", "-wal", "-shm")
BUSY_SECONDS = 1.0
# Other codes are about the disk, its rights, or another process, and say nothing about the content.
CONTENT_CODES = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT))


class UnusableError(sqlite3.DatabaseError):
    """The file has a content that this version cannot use."""


def opened(file: Path, schema: str) -> sqlite3.Connection:
    """The database with the tables of `schema`, for any thread; columns that an earlier version lacked are added.

    If the file cannot be opened or written, the database is in memory, and the log says so.
    """
    try:
        return opened_on_disk(file, schema)
    except sqlite3.Error as error:
        logger.error("%s cannot be used, so what it should keep will be lost with this daemon: %s", file, error)
        return opened_on_disk(Path(":memory:"), schema)


def opened_on_disk(file: Path, schema: str) -> sqlite3.Connection:
    """The same where only the file will do. Raises sqlite3.Error."""
    database = connected(file)
    try:
        for statement in _missing_columns(database, schema):
            database.execute(statement)
        database.executescript(schema)
    except sqlite3.Error:
        database.close()
        raise
    return database


def heal(file: Path, schemas: Iterable[str]) -> Path | None:
    """Set the file aside unless it is whole and fits the schemas; returns where it is then."""
    why = fault(file, schemas)
    if why is None:
        return None
    aside = set_aside(file, BESIDE)
    logger.warning("%s cannot be used: %s. It is now %s, and a new one is begun.", file, why, aside.name)
    return aside


def fault(file: Path, schemas: Iterable[str]) -> str | None:
    """Why this version cannot use the content of the file; None if it can, or if there is no such file."""
    try:
        for path in (Path(f"{file}{suffix}") for suffix in BESIDE):
            if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):  # a FIFO would never open
                return f"{path.name} is not a file"
        if not (file.stat().st_size or os.path.exists(f"{file}-wal")):
            return "it is empty"
        with closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        ) as database:
            verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict != "ok":
                return str(verdict)
            for schema in schemas:
                _missing_columns(database, schema)
    except FileNotFoundError:
        return None
    except UnusableError as error:
        return str(error)
    except sqlite3.Error as error:
        return str(error) if error.sqlite_errorcode & 0xFF in CONTENT_CODES else None
    except OSError:
        return None
    return None


def connected(file: Path) -> sqlite3.Connection:
    """A connection for any thread to a database that others may read meanwhile. Raises sqlite3.Error."""
    database = sqlite3.connect(file, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")  # after a loss of power the last rows may be missing
    except sqlite3.Error:
        database.close()
        raise
    return database


def connected_to_read(file: Path) -> sqlite3.Connection:
    """A connection that makes and changes no file. Raises sqlite3.Error, also if there is no such file."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)


def _missing_columns(database: sqlite3.Connection, schema: str) -> list[str]:
    """The statements that add the columns that its tables lack. Raises UnusableError for tables of another kind."""
    statements = []
    with closing(sqlite3.connect(":memory:")) as wanted:
        wanted.executescript(schema)
        for (table,) in wanted.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            present = {column[1] for column in _columns(database, table)}
            for _, name, kind, not_null, default, key in _columns(wanted, table) if present else ():
                if name in present:
                    continue
                if key or (not_null and default is None):
                    raise UnusableError(f"its table {table} has no column {name}")
                rest = f" DEFAULT {default}" if default is not None else ""
                statements.append(f"ALTER TABLE {table} ADD COLUMN {name} {kind}{' NOT NULL' * not_null}{rest}")
    return statements


def _columns(database: sqlite3.Connection, table: str) -> list[tuple[int, str, str, int, str | None, int]]:
    return database.execute(f"PRAGMA table_info({table})").fetchall()
