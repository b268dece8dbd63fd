"""The log of requests: a line for each, without prompts, answers, query strings or keys.

Lines are written by a thread, together, so that no request waits for the disk.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from oprel.core.config import Config
from oprel.utils.files import LARGEST_LOG, is_same_file, open_own, shift_logs
from oprel.utils.text import abridged, harmless

logger = logging.getLogger(__name__)

FILE = "requests.log"
PAUSE = 0.5  # s between two writes
MOST_LINES = 20_000  # that wait to be written; further ones are counted only
LONGEST = 300  # characters of a path or a name

Form = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True)
class RequestEntry:
    """`at` in seconds since 1970. `status`: 0 if the client left before there was one."""

    at: float
    method: str
    path: str
    status: int
    ms: float
    caller: str
    address: str = ""
    key: str = ""
    model: str = ""
    prompt_tokens: int = 0
    answer_tokens: int = 0

    def text(self) -> str:
        """Fields without a value are left out; a value with blanks is quoted."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("at", "method", "path", "status")}
        shown = " ".join(f"{name}={_word(value)}" for name, value in fields.items() if value not in ("", 0))
        return f"{_time(self.at)} {self.method} {_word(self.path)} {self.status} {shown}"

    def json(self) -> str:
        """Every field."""
        fields = {name: _short(value) for name, value in asdict(self).items()}
        return json.dumps({"time": _time(self.at), **{name: fields[name] for name in fields if name != "at"}})


class RequestLog:
    """Appends to `file`, which is continued in a new one when it has `limit` bytes."""

    def __init__(self, file: Path, form: Form, limit: int = LARGEST_LOG) -> None:
        self._file = file
        self._form = form
        self._limit = limit
        self._lock = threading.Condition()
        self._waiting: list[RequestEntry] = []
        self._lost = 0
        self._descriptor = -1
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def add(self, entry: RequestEntry) -> None:
        """Takes a few microseconds."""
        with self._lock:
            if len(self._waiting) >= MOST_LINES:
                self._lost += 1
                return
            self._waiting.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="request-log", daemon=True)
                self._thread.start()
            self._lock.notify()

    def close(self) -> None:
        """Write what is left."""
        self._closing.set()
        with self._lock:
            self._lock.notify()
            thread = self._thread
        if thread:
            thread.join()

    def _write_on(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closing.is_set())
                entries, self._waiting = self._waiting, []
                lost, self._lost = self._lost, 0
            if entries:
                self._write(entries, lost)
            elif self._closing.is_set():
                break
            self._closing.wait(PAUSE)
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _write(self, entries: list[RequestEntry], lost: int) -> None:
        encode: Callable[[RequestEntry], str] = RequestEntry.json if self._form == "json" else RequestEntry.text
        content = "".join(f"{encode(entry)}\n" for entry in entries).encode(errors="replace")
        try:
            self._renew()
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError as error:
            lost += len(entries)
            logger.warning("%s cannot be written: %s", self._file, error)
        if lost:
            logger.warning("the log of requests lacks %s lines", lost)

    def _renew(self) -> None:
        """Open the file, or the next one. Raises OSError."""
        if self._descriptor >= 0:
            is_current = is_same_file(self._file, self._descriptor)
            if is_current and os.fstat(self._descriptor).st_size < self._limit:
                return
            os.close(self._descriptor)
            self._descriptor = -1
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._file.exists() and self._file.stat().st_size >= self._limit:
            shift_logs(self._file)
        self._descriptor = open_own(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def request_log(config: Config) -> RequestLog | None:
    """As the setting says."""
    match config.request_log:
        case "text" | "json" as form:
            return RequestLog(config.logs_dir / FILE, form)
    return None


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"


def _short(value: object) -> object:
    return harmless(abridged(value, LONGEST)) if isinstance(value, str) else value


def _word(value: object) -> str:
    text = str(_short(value))
    return json.dumps(text) if not text or any(letter.isspace() or letter in '"=' for letter in text) else text
