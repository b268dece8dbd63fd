"""Which faults are the disk's."""

import errno
import os
import sqlite3
from contextlib import closing

import pytest

from oprel.core.exceptions import DiskFullError
from oprel.server.errors import unexpected


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_write_without_space_is_named(number: int) -> None:
    error = unexpected(OSError(number, os.strerror(number), "/home/me/.oprel/file"))
    assert isinstance(error, DiskFullError) and os.strerror(number) in error.message
    assert "/home/me/.oprel/file" in error.resolution_steps[0]


def test_a_database_without_space_is_named() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("PRAGMA max_page_count = 2")
        with pytest.raises(sqlite3.Error) as caught:
            database.executescript("CREATE TABLE a (x); INSERT INTO a VALUES (zeroblob(100000))")
    assert isinstance(unexpected(caught.value), DiskFullError)


@pytest.mark.parametrize(
    "fault", [PermissionError(errno.EACCES, "no"), KeyError("x"), sqlite3.OperationalError("locked")]
)
def test_other_faults_are_ours(fault: Exception) -> None:
    assert unexpected(fault).http_status == 500
