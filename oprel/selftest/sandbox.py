"""The environment of the checks: a daemon with its own home folder, and copies of the bundled model."""

import contextlib
import math
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx
import psutil

from oprel.client.own_daemon import serve_command
from oprel.client.plain.daemon_state import is_up
from oprel.client.plain.requests import rebuilt
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.names import GUIDE
from oprel.selftest.dialects import TestedDialect
from oprel.utils.files import tail
from oprel.wire.daemon import EngineModel

SLOTS = 2  # of each engine
QUEUE = 3  # requests that may wait for a model
TIMEOUT = (
    60.0  # s for an expected event, as for a daemon's start: a busy machine may be ten times as slow as an idle one
)
POLL_INTERVAL = 0.005  # s
LOG_LINES = 3  # the last ones of a daemon: its error, and what to do about it
# Settings of the user that the sandbox takes over: they decide how engines run here.
ENGINE_SETTINGS = ("engine_path", "hardware", "n_gpu_layers", "kv_cache_type", "flash_attention", "batch_size")


class Unmet(Exception):
    """An expectation failed; the text says what was expected."""


class NoDaemon(Unmet):
    """The daemon does not start, so that no check can pass."""


def expect(holds: object, expected: str) -> None:
    if not holds:
        raise Unmet(expected)


def wait_until(happened: Callable[[], object], expected: str, within: float = TIMEOUT) -> float:
    """Wait until `happened` returns true; return the seconds it took. Raises Unmet."""
    began = time.monotonic()
    while not happened():
        expect(time.monotonic() < began + within, f"{expected} within {within:.0f} s")
        time.sleep(POLL_INTERVAL)
    return time.monotonic() - began


def runs(pid: int) -> bool:
    """True if the process is running and not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class StreamedAnswer:
    """A streamed answer. `pause` is the longest wait for a line after its first text, in seconds."""

    text: str
    complete: bool
    pause: float


class Sandbox:
    """Runs at most one daemon at a time, with its home in `folder`."""

    def __init__(self, user: Config, folder: Path) -> None:
        engines = {name: getattr(user, name) for name in ENGINE_SETTINGS}
        self._usual = Config(
            **engines, home=str(folder), binary_dir=str(user.engines_dir), server_port=0, keep_alive="-1",
            parallel=SLOTS, max_queue=QUEUE, ctx_size=512, restore="off",
            n_threads=1,  # threads of a tiny model spin while they wait for each other, which is slow on busy cores
        )  # fmt: skip
        self._copies = 0
        self._log = folder / "daemon.log"
        self.config = self._usual
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Client(config=self._usual, start=False)
        self.http = httpx.Client(timeout=TIMEOUT, trust_env=False)

    def serve(self, **settings: str | int) -> None:
        """Make sure that a daemon with these settings is running; restart it if they differ. Raises Unmet."""
        config = self._usual.replace(**settings)
        if self._serves and config == self.config:
            return
        self.end()
        self._start(config)

    def serve_somehow(self) -> None:
        """Make sure that a daemon is running, with whatever settings: on a busy machine a start takes long."""
        if not self._serves:
            self._start(self._usual)

    @property
    def _serves(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _start(self, config: Config) -> None:
        self.config = config
        with self._log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(serve_command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process = self.process
        try:
            wait_until(lambda: is_up(config) or process.poll() is not None, "a daemon that answers")
        except Unmet as unmet:
            raise NoDaemon(str(unmet)) from None
        if process.poll() is not None:
            last = " ".join(line.strip() for line in tail(self._log, LOG_LINES, since=began))
            raise NoDaemon(f"a daemon that starts; it ended with status {process.returncode}: {last}")
        listening = re.search(rb"listens on (https?://[^\s,]+)", self._log.read_bytes()[began:])
        expect(listening, "a daemon that logs its address")
        self.http.base_url = httpx.URL(listening[1].decode() if listening else "")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the daemon a signal, wait for its exit and return its status."""
        self.signal_daemon(number)
        return self.wait()

    def signal_daemon(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)  # does nothing if it has exited

    def wait(self) -> int:
        """Wait for the daemon's exit and return its status. Kills it and raises Unmet on timeout."""
        if self.process is None:
            return 0
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Unmet(f"a daemon that exits within {TIMEOUT:.0f} s") from None

    def discard(self) -> None:
        """Kill the daemon, with its engines: what a failed check left behind must not fail the next ones."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        self.client.close()
        self.http.close()
        with contextlib.suppress(Unmet):
            self.end()

    def model(self) -> str:
        """The path of a new model file: engines killed in earlier checks do not count against it."""
        self._copies += 1
        path = self._usual.home_dir / f"guide-{self._copies}.gguf"
        shutil.copyfile(str(files("oprel") / "bundled" / f"{GUIDE}.gguf"), path)
        return str(path)

    def engine(self, model: str) -> EngineModel:
        """The engine of a loaded model."""
        engines = [engine for engine in self.client.engines().models if engine.name == model]
        expect(engines, f"an engine for {Path(model).name}")
        return engines[0]

    def signal(self, model: str, number: signal.Signals | None) -> None:
        """Send the model's engine a signal, or without one suspend it; does nothing if it has just exited."""
        if pid := self.engine(model).pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.suspend() if number is None else process.send_signal(number)

    def resume(self, model: str) -> None:
        """Resume the model's engine after it was suspended."""
        if pid := self.engine(model).pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).resume()

    @contextlib.contextmanager
    def paused(self, model: str) -> Iterator[None]:
        """Inside the block the model's engine is suspended."""
        process = psutil.Process(self.engine(model).pid or 0)
        process.suspend()
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stream(
        self, dialect: TestedDialect, model: str, disturb: Callable[[], object] = lambda: None
    ) -> StreamedAnswer:
        """The answer to the usual prompt; `disturb` is called after its first text. Raises the daemon's OprelError."""
        text, last, pause, received_at = "", "", 0.0, math.inf
        with self.http.stream("POST", dialect.path, json=dialect.body(model)) as response:
            if response.is_error:
                raise rebuilt(response.read(), response.status_code)
            for line in response.iter_lines():
                if piece := dialect.text(line):
                    if not text:
                        disturb()
                    text += piece
                pause = max(pause, time.monotonic() - received_at)
                last, received_at = line or last, time.monotonic() if text else math.inf
        return StreamedAnswer(text, dialect.last in last, pause)
