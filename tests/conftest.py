"""Parts that tests share: a tiny real model, a home of one's own, and daemons on it."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from oprel.client.own_daemon import serve_command
from oprel.client.plain.daemon_state import is_up
from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from oprel.telemetry.hardware import bandwidth
from oprel.telemetry.hardware.probing import probe
from tests.clients.table import pytest_terminal_summary  # noqa: F401 - pytest calls it
from tests.fixtures import watched_daemon
from tests.fixtures.gguf_factory import Shape, write_tiny_gguf
from tests.fixtures.watched_daemon import MARK

settings.register_profile("oprel", deadline=None)  # a busy machine takes longer
settings.register_profile("fuzz", deadline=None)  # of `bin/test fuzz`: more inputs
settings.load_profile("oprel")

ENGINE_THREADS = 1  # more would wait for each other, spinning, where tests run side by side
# In place of Hugging Face and of Ollama's registry: tests ask nobody in the internet.
NOWHERE = "http://127.0.0.1:9"
# Of the machine in every home: if a daemon measured it, plans would change at a moment that no test knows.
RATES = bandwidth.Rates(memory=20 * 10**9, core=45 * 10**9)
DEADLINE = 60.0  # s within which what must happen has happened, on a busy machine too


def eventually(happened: Callable[[], object], within: float = DEADLINE) -> None:
    """Look until it has happened; fail when it has not within so many seconds."""
    limit = time.monotonic() + within
    while not happened():
        assert time.monotonic() < limit, f"not within {within} s: {happened}"
        time.sleep(0.01)


def alive(pid: int | None) -> bool:
    """True for a process that runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class RunningDaemon:
    """A real daemon in a process of its own."""

    config: Config
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def url(self) -> str:
        found = re.search(r"listens on (https?://[^\s,]+)", self.log)
        assert found, self.log
        return found[1]

    @property
    def client(self) -> Client:
        return Client(f"unix:{self.config.socket_path}", config=self.config, start=False)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE)


@contextlib.contextmanager
def running_daemon(config: Config, prefix: Sequence[str] = ()) -> Iterator[RunningDaemon]:
    """`prefix`: a command that runs the rest of its arguments, in place of itself."""
    config.home_dir.mkdir(parents=True, exist_ok=True)
    bandwidth.remember(config.home_dir, probe(), RATES)
    log_file = config.home_dir / f"daemon-{time.monotonic_ns()}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*prefix, *watched_command(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    daemon = RunningDaemon(config, process, log_file)
    try:
        eventually(lambda: is_up(config) or process.poll() is not None)
        assert process.poll() is None, daemon.log
        yield daemon
    finally:
        if process.poll() is None:
            daemon.end()
    blocked = daemon.log.partition(MARK)
    assert not blocked[1], "".join(blocked)[-4000:]


def watched_command(config: Config) -> list[str]:
    """oprel's own command, on an event loop that reports what blocks it."""
    python, safe_path, _, _, *arguments = serve_command(config)
    return [python, safe_path, watched_daemon.__file__, *arguments]


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    # Not pytest's folder: its names are too long for the Unix sockets in it.
    folder = Path(tempfile.mkdtemp(prefix="oprel-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _without_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OPREL_", "OLLAMA_", "HF_"))]:
        monkeypatch.delenv(name)
    for name in (
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "OLLAMA_MODELS",
        "HF_HUB_CACHE",
        "HUGGINGFACE_HUB_CACHE",
        "LLAMA_CACHE",
    ):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.fixture(autouse=True, scope="session")
def clean_start() -> Iterator[None]:
    """What `clean_environment` is for a test, for daemons that many share."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; programs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as monkeypatch:
        _without_own(monkeypatch)
        yield


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting and no model of the machine that runs the tests reaches them."""
    _without_own(monkeypatch)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model of 270 KB."""
    return write_tiny_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that talks for 30 000 tokens, which takes it many seconds."""
    path = tmp_path_factory.mktemp("models") / "endless.gguf"
    return write_tiny_gguf(path, shape=Shape(context=32_768), endless=True)


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as folder:
        yield folder


@pytest.fixture
def config(home: Path) -> Config:
    return Config(home=str(home), server_port=0, n_threads=ENGINE_THREADS, hf_endpoint=NOWHERE, ollama_registry=NOWHERE)


@pytest.fixture
def start_daemon(config: Config) -> Iterator[Callable[..., RunningDaemon]]:
    """Start a daemon on the test's home, with other settings if need be; all are stopped at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda **changes: stack.enter_context(running_daemon(config.replace(**changes)))


@contextlib.contextmanager
def lasting_daemon(tiny: Path) -> Iterator[RunningDaemon]:
    """A daemon that knows the tiny model as `tiny` and lets no model go."""
    with temporary_home() as folder:
        config = Config(
            home=str(folder),
            server_port=0,
            keep_alive="-1",
            n_threads=ENGINE_THREADS,
            hf_endpoint=NOWHERE,
            ollama_registry=NOWHERE,
        )
        Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture(scope="session")
def shared_daemon(tiny: Path) -> Iterator[RunningDaemon]:
    """One for tests that change nothing another could see."""
    with lasting_daemon(tiny) as daemon:
        yield daemon


@pytest.fixture
def client(shared_daemon: RunningDaemon) -> Iterator[Client]:
    with shared_daemon.client as client:
        yield client
