"""Stores downloads across restarts of the daemon, in OPREL_HOME/state.db."""

import json
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from oprel.utils.database import opened

KEPT = 200  # records; the oldest finished ones are deleted

COLUMNS = "id, name, state, error, total, completed, places, insecure, public_only, chosen, fault"
SCHEMA = """
CREATE TABLE IF NOT EXISTS downloads (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, state TEXT NOT NULL, error TEXT NOT NULL DEFAULT '',
    total INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0, places TEXT NOT NULL DEFAULT '[]',
    insecure INTEGER NOT NULL DEFAULT 0, public_only INTEGER NOT NULL DEFAULT 0, chosen TEXT NOT NULL DEFAULT '',
    fault TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
);
"""


class DownloadState(Enum):
    """`RUNNING` downloads, which may wait for the network, continue when the next daemon starts; `PAUSED` and `FAILED`
    ones on request.
    """

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class DownloadRecord:
    """The stored state of a download. Counts in bytes.

    `name` is the model's; `places` are the paths of its files, if known. `insecure`: it accesses registries over http.
    `public_only`: it may connect to public addresses only. `chosen`: the model that was chosen if the name leaves a
    choice. `fault`: the kind of the error, "" without one. `started`: in seconds since 1970; the database sets it.
    """

    id: str
    name: str
    state: DownloadState
    error: str = ""
    total: int = 0
    completed: int = 0
    places: tuple[str, ...] = ()
    insecure: bool = False
    public_only: bool = False
    chosen: str = ""
    fault: str = ""
    started: float = field(default=0.0, compare=False)


class Records:
    """Owns the table. A call takes well under a millisecond, so it may run in the event loop."""

    def __init__(self, file: Path) -> None:
        self._database = opened(file, SCHEMA)

    def all(self) -> tuple[list[DownloadRecord], int]:
        """The records, oldest first, and the number of unreadable ones, which a later version wrote."""
        query = (
            f"SELECT {COLUMNS}, CAST(strftime('%s', created_at) AS INTEGER) FROM downloads ORDER BY created_at, rowid"
        )
        records, unreadable = [], 0
        for row in self._database.execute(query):
            try:
                records.append(_record(row))
            except (ValueError, TypeError):
                unreadable += 1
        return records, unreadable

    def put(self, record: DownloadRecord) -> None:
        """Insert or replace a record by its id. Raises sqlite3.Error."""
        values = asdict(record) | {"state": record.state.value, "places": json.dumps(record.places)}
        with self._database:
            self._database.execute(
                f"INSERT INTO downloads ({COLUMNS})"
                " VALUES (:id, :name, :state, :error, :total, :completed, :places, :insecure, :public_only, :chosen,"
                " :fault)"
                " ON CONFLICT (id) DO UPDATE SET state = :state, error = :error, total = :total,"
                " completed = :completed, places = :places, insecure = :insecure, public_only = :public_only,"
                " chosen = :chosen, fault = :fault",
                values,
            )
            self._database.execute(
                "DELETE FROM downloads WHERE state IN ('done', 'failed') AND rowid NOT IN"
                " (SELECT rowid FROM downloads ORDER BY rowid DESC LIMIT ?)",
                (KEPT,),
            )

    def delete(self, id: str) -> None:
        with self._database:
            self._database.execute("DELETE FROM downloads WHERE id = ?", (id,))

    def close(self) -> None:
        self._database.close()


def _record(row: tuple[str, str, str, str, int, int, str, int, int, str, str, float]) -> DownloadRecord:
    """Raises ValueError for a record of a later version."""
    id, name, state, error, total, completed, places, insecure, public_only, chosen, fault, started = row
    return DownloadRecord(
        id=id,
        name=name,
        state=DownloadState(state),
        error=error,
        total=total,
        completed=completed,
        places=tuple(json.loads(places)),
        insecure=bool(insecure),
        public_only=bool(public_only),
        chosen=chosen,
        fault=fault,
        started=started,
    )
