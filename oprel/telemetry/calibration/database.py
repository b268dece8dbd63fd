"""The past loads of engines, kept in OPREL_HOME/state.db."""

import logging
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oprel.telemetry.calibration.learning import (
    PARTS,
    Buffers,
    EstimatedLoad,
    PastLoad,
    ResidentMemory,
    corrections_of,
)
from oprel.telemetry.memory.corrections import Corrections
from oprel.utils.database import connected, connected_to_read
from oprel.utils.text import timestamp

logger = logging.getLogger(__name__)

COLUMNS = (
    *("model", "architecture", "build", "setting", "at"),
    *(f"estimated_{part}" for part in PARTS),
    *("process", "at_work", "untouched", "pool"),
    *(*PARTS, "on_gpus"),
    *("ready", "peak", "was_busy"),
)
# One row for each load. `calibration` was a table of earlier versions, with one row for each setting.
SCHEMA = f"""
DROP TABLE IF EXISTS calibration;
CREATE TABLE IF NOT EXISTS engine_loads (number INTEGER PRIMARY KEY, {", ".join(COLUMNS)});
CREATE INDEX IF NOT EXISTS engine_loads_of_model ON engine_loads (build, model);
CREATE INDEX IF NOT EXISTS engine_loads_of_architecture ON engine_loads (build, architecture);
"""
INSERT = f"INSERT INTO engine_loads ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
MOST_ROWS = 2000
NEWEST = "SELECT * FROM engine_loads WHERE build = ? AND {} = ? ORDER BY number DESC LIMIT 16"
PRUNE = f"DELETE FROM engine_loads WHERE number <= (SELECT MAX(number) FROM engine_loads) - {MOST_ROWS}"


@dataclass(frozen=True, kw_only=True)
class LoadIdentity:
    """What a load is compared with: `model` by `model_key`, and `build` of the engine's program."""

    model: str
    architecture: str
    build: str


def model_key(files: Iterable[Path | None]) -> str:
    """A text that changes with the files that a model has; not with their content, which may be 100 GB to read."""
    return " ".join(_file_key(file) for file in files if file)


def _file_key(file: Path) -> str:
    path = os.path.realpath(file)
    name = os.fsencode(path).decode(errors="backslashreplace")  # sqlite3 takes UTF-8 only
    try:
        status = os.stat(path)
    except OSError:
        return name
    return f"{name} {status.st_size} {status.st_mtime_ns}"


class Calibration:
    """The table of past loads. If the database cannot be used, nothing is corrected.

    One with `writes` is its owner; others only read, and make no file.
    """

    def __init__(self, file: Path, *, writes: bool = True) -> None:
        self._database: sqlite3.Connection | None = None
        try:
            self._database = _opened(file) if writes else _opened_to_read(file)
        except sqlite3.Error as error:
            if writes:
                logger.warning("cannot record the memory that engines take: %s: %s", file, error)

    def corrections(self, load: LoadIdentity) -> Corrections:
        """What the newest loads say about the estimates."""
        of_model = self._newest("model", load.build, load.model)
        return corrections_of(of_model, of_model or self._newest("architecture", load.build, load.architecture))

    def note(self, load: LoadIdentity, past: PastLoad) -> int | None:
        """Record a load; returns its number, for `note_peak`."""
        estimated, logged, resident = past.estimated, past.logged, past.resident
        row = (
            *(load.model, load.architecture, load.build, past.setting, timestamp()),
            *(getattr(estimated.buffers, part) for part in PARTS),
            *(estimated.process, estimated.at_work, estimated.untouched, estimated.pool),
            *(*(getattr(logged, part) for part in PARTS), logged.on_gpus),
            *(resident.ready, resident.peak, resident.was_busy),
        )
        number = self._execute(INSERT, row)
        self._execute(PRUNE, ())
        return number

    def note_peak(self, number: int, peak: int, *, was_busy: bool) -> None:
        """Record the most memory that the engine of a load had, in bytes, and whether every slot was in use at once."""
        query = "UPDATE engine_loads SET peak = ?, was_busy = ? WHERE number = ?"
        self._execute(query, (peak, was_busy, number))

    def close(self) -> None:
        """Close the database; later notes are dropped."""
        if self._database:
            self._database.close()
            self._database = None

    def _newest(self, column: str, build: str, value: str) -> list[PastLoad]:
        try:
            rows = self._database.execute(NEWEST.format(column), (build, value)).fetchall() if self._database else []
        except sqlite3.Error:
            return []
        return [_past_load(row) for row in rows]

    def _execute(self, query: str, values: tuple[object, ...]) -> int | None:
        """Change the table; returns the number of the row that was added last."""
        try:
            if self._database:
                with self._database:
                    return self._database.execute(query, values).lastrowid
        except sqlite3.Error as error:
            logger.warning("cannot record the memory of an engine: %s", error)
        return None


def recall(file: Path, load: LoadIdentity) -> Corrections:
    """The corrections by a database that another process owns; none without it."""
    calibration = Calibration(file, writes=False)
    try:
        return calibration.corrections(load)
    finally:
        calibration.close()


def _opened(file: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    database = connected(file)
    present = [name for _, name, *_ in database.execute("PRAGMA table_info(engine_loads)")]
    if present not in ([], ["number", *COLUMNS]):  # of another version
        database.execute("DROP TABLE engine_loads")
    database.executescript(SCHEMA)
    database.row_factory = sqlite3.Row
    return database


def _opened_to_read(file: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error, also if there is no such file."""
    database = connected_to_read(file)
    database.row_factory = sqlite3.Row
    return database


def _past_load(row: sqlite3.Row) -> PastLoad:
    return PastLoad(
        setting=row["setting"],
        estimated=EstimatedLoad(
            buffers=Buffers(**{part: row[f"estimated_{part}"] for part in PARTS}),
            process=row["process"],
            at_work=row["at_work"],
            untouched=row["untouched"],
            pool=row["pool"],
        ),
        logged=Buffers(**{part: row[part] for part in (*PARTS, "on_gpus")}),
        resident=ResidentMemory(ready=row["ready"], peak=row["peak"], was_busy=bool(row["was_busy"])),
    )
