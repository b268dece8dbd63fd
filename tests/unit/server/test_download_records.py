"""Records of downloads that another version wrote."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from oprel.server.downloads.records import DownloadRecord, DownloadState, Records


def test_a_record_has_all_that_the_next_daemon_needs(tmp_path: Path) -> None:
    record = DownloadRecord(
        id="1",
        name="host/org/model:latest",
        state=DownloadState.RUNNING,
        total=5,
        completed=3,
        places=("/a", "/b"),
        insecure=True,
        public_only=True,
        chosen="hf.co/org/model:Q8_0",
    )
    records = Records(tmp_path / "state.db")
    records.put(replace(record, insecure=False, chosen=""))
    records.put(record)
    assert records.all() == ([record], 0)
    records.close()


@pytest.mark.parametrize("change", ["state = 'dreaming'", "places = '{'", "places = '5'"])
def test_a_record_of_a_later_version_is_counted_and_left_alone(tmp_path: Path, change: str) -> None:
    file = tmp_path / "state.db"
    records = Records(file)
    for id in ("1", "2"):
        records.put(DownloadRecord(id=id, name="m", state=DownloadState.PAUSED, places=("/m.gguf",)))
    database = sqlite3.connect(file)
    with database:
        database.execute(f"UPDATE downloads SET {change} WHERE id = '1'")
    readable, unreadable = records.all()
    assert ([record.id for record in readable], unreadable) == (["2"], 1)
    assert database.execute("SELECT count(*) FROM downloads").fetchone() == (2,)
    database.close()
    records.close()
