"""The daemon's log: its standard error, which a command that starts a daemon directs to a file."""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import TextIO

from oprel.utils.files import LARGEST_LOG, is_same_file, open_own, shift_logs

STDOUT, STDERR = 1, 2


class DaemonLog(logging.StreamHandler[TextIO]):
    """Writes to standard error. If that is the file `path`, it begins a new one when it has `limit` bytes.

    What other libraries, or the interpreter as it crashes, write to standard error then goes to the new file too. So it
    does after another process has moved or removed the file: the last daemon may end while the next one starts.
    """

    def __init__(self, path: Path, limit: int = LARGEST_LOG) -> None:
        super().__init__(sys.stderr)
        self._path = path
        self._limit = limit
        self._owns_file = is_same_file(path, STDERR)

    def emit(self, record: logging.LogRecord) -> None:
        if self._owns_file:
            with contextlib.suppress(OSError):  # without a new file, the old one has to do
                self._renew()
        super().emit(record)

    def _renew(self) -> None:
        old = os.fstat(STDERR)
        is_current = is_same_file(self._path, STDERR)
        if is_current and old.st_size < self._limit:
            return
        if is_current:
            shift_logs(self._path)
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        new = open_own(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            for stream in (STDOUT, STDERR):
                if os.path.samestat(os.fstat(stream), old):
                    os.dup2(new, stream)
        finally:
            os.close(new)
