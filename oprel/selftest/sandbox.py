"""Where checks take place: a daemon in a home of its own, and copies of the bundled model."""

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import httpx
import psutil

from oprel.client.connect import is_up, serve_command
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.names import GUIDE
from oprel.selftest.dialects import TestedDialect
from oprel.wire.daemon import EngineModel

SLOTS = 2  # of each engine
PATIENCE = 20.0  # s within which what must happen has happened
LOOK_INTERVAL = 0.005  # s
# What of the user's configuration says how engines run here.
OF_ENGINES = ("engine_path", "n_gpu_layers", "kv_cache_type", "flash_attention", "batch_size")


class Unmet(Exception):
    """Something was not as it must be; the text says what was expected."""


def expect(holds: object, expected: str) -> None:
    if not holds:
        raise Unmet(expected)


def wait_until(happened: Callable[[], object], expected: str, within: float = PATIENCE) -> float:
    """Seconds until it has happened. Raises Unmet."""
    began = time.monotonic()
    while not happened():
        expect(time.monotonic() < began + within, f"{expected} within {within:.0f} s")
        time.sleep(LOOK_INTERVAL)
    return time.monotonic() - began


def runs(pid: int) -> bool:
    """True for a process that runs; one of which only the exit status is left does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class Heard:
    """A streamed answer. `pause` is the longest wait for a line of it after it was disturbed, in seconds."""

    text: str
    whole: bool
    pause: float


class Sandbox:
    """At most one daemon at a time, its home in `folder`."""

    def __init__(self, user: Config, folder: Path) -> None:
        engines = {name: getattr(user, name) for name in OF_ENGINES}
        self._usual = Config(
            **engines, home=str(folder), binary_dir=str(user.engines_dir), server_port=0, keep_alive="-1",
            parallel=SLOTS, ctx_size=512, restore="off",
            n_threads=1,  # several of a tiny model wait for each other, spinning, where other work has the cores
        )  # fmt: skip
        self._copies = 0
        self._log = folder / "daemon.log"
        self.config = self._usual
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Client(config=self._usual, start=False)
        self.http = httpx.Client(timeout=60, trust_env=False)

    def serve(self, **settings: str | int) -> None:
        """Have a daemon with these settings: the one that runs, or another. Raises Unmet."""
        config = replace(self._usual, **settings)  # type: ignore[arg-type]  # the types are those of the fields
        if self.process and self.process.poll() is None and config == self.config:
            return
        self.end()
        self.config = config
        with self._log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(serve_command(config), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process = self.process
        wait_until(lambda: is_up(config) or process.poll() is not None, "a daemon that answers")
        expect(process.poll() is None, f"a daemon that starts; see {self._log}")
        found = re.search(rb"listens on (http://\S+)", self._log.read_bytes()[began:])
        expect(found, "a daemon that says where it listens")
        self.http.base_url = httpx.URL(found[1].decode() if found else "")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the daemon a signal and wait for its end; its exit status."""
        self.tell(number)
        return self.wait()

    def tell(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)  # nothing where it has ended

    def wait(self) -> int:
        """The daemon's exit status, when it has ended. One that does not end is killed, and Unmet raised."""
        if self.process is None:
            return 0
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Unmet(f"a daemon that ends within {PATIENCE:.0f} s") from None

    def close(self) -> None:
        self.client.close()
        self.http.close()
        with contextlib.suppress(Unmet):
            self.end()

    def model(self) -> str:
        """A model that no daemon has seen: engines that were killed do not count against it."""
        self._copies += 1
        path = self._usual.home_dir / f"guide-{self._copies}.gguf"
        shutil.copyfile(str(files("oprel") / "bundled" / f"{GUIDE}.gguf"), path)
        return str(path)

    def engine(self, model: str) -> EngineModel:
        """The engine of a loaded model."""
        found = [engine for engine in self.client.engines().models if engine.name == model]
        expect(found, f"an engine for {Path(model).name}")
        return found[0]

    def signal(self, model: str, number: signal.Signals) -> None:
        """Nothing is done to an engine that has just ended, whether or not the daemon has noticed."""
        if pid := self.engine(model).pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @contextlib.contextmanager
    def held(self, model: str) -> Iterator[None]:
        """Inside the block the model's engine stands still."""
        pid = self.engine(model).pid or 0
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def hear(self, dialect: TestedDialect, model: str, disturb: Callable[[], object] = lambda: None) -> Heard:
        """The answer to the usual question; `disturb` is called after its first text. Raises Unmet for an error."""
        text, last, pause, heard_at = "", "", 0.0, math.inf
        with self.http.stream("POST", dialect.path, json=dialect.body(model)) as response:
            if response.is_error:
                raise Unmet(f"an answer, not status {response.status_code}: {response.read().decode()}")
            for line in response.iter_lines():
                if said := dialect.text(line):
                    if not text:
                        disturb()
                    text += said
                pause = max(pause, time.monotonic() - heard_at)
                last, heard_at = line or last, time.monotonic() if text else math.inf
        return Heard(text, dialect.last in last, pause)
