"""The daemon is killed in any state: no engine of it stays, no lock, and the next one finds nothing in its way."""

import fcntl
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.telemetry.memory.process import NATIVE
from tests.conftest import RunningDaemon, alive, eventually, running_daemon
from tests.fixtures.fake_engine import install
from tests.fixtures.limits import megabytes_for

pytestmark = pytest.mark.long

ROUNDS, MANY_ROUNDS = 8, 50
GONE_WITHIN = 3.0  # s


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A llama-server that serves somebody else."""
    program = install(tmp_path / "foreign")
    with subprocess.Popen([program, "--host", str(tmp_path / "x.sock")], stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@dataclass
class Scene:
    """A daemon with two models, and a thread for what is asked of it and will not be answered."""

    daemon: RunningDaemon
    client: Client
    model: str
    other: str  # that does not fit beside it
    pool: ThreadPoolExecutor

    def ask(self, what: Callable[..., object], *arguments: object) -> Future[object]:
        return self.pool.submit(what, *arguments)

    def is_in(self, *states: str) -> bool:
        return any(one.state in states and alive(one.pid) for one in self.client.engines().models)


def loading(scene: Scene) -> None:
    scene.ask(scene.client.load, scene.model)
    eventually(lambda: scene.is_in("starting", "ready"))


def streaming(scene: Scene) -> None:
    stream = scene.client.generate(scene.model, "hello", stream=True)
    for _ in range(random.randint(1, 40)):
        next(stream)


def idle(scene: Scene) -> None:
    scene.client.load(scene.model)


def unloading(scene: Scene) -> None:
    """The engine does not care about SIGINT: it goes on for seconds."""
    scene.client.load(scene.model)
    scene.ask(scene.client.unload, scene.model)
    eventually(lambda: scene.is_in("draining"))


def evicting(scene: Scene) -> None:
    scene.client.load(scene.model)
    scene.ask(scene.client.load, scene.other)
    eventually(lambda: scene.is_in("draining"))


ANY_ENGINE = (loading, streaming, idle)
SLOW_TO_END = (unloading, evicting)


def processes_of(config: Config) -> list[list[str]]:
    """Command lines in which this home is named: of daemons and of engines."""
    found = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    return [line for line in found if any(config.home in part for part in line)]


def is_free(lock: Path) -> bool:
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_socket()}


def kill_in(state: Callable[[Scene], None], config: Config, models: tuple[str, str]) -> None:
    """A daemon is brought into `state` and killed; it had found nothing that the one before it left."""
    with running_daemon(config) as daemon, ThreadPoolExecutor(1) as pool, daemon.client as client:
        assert left_in(config.run_dir) == {"daemon.lock", "oprel.sock", "settings.json"}
        state(Scene(daemon, client, *models, pool))
        daemon.process.kill()
        daemon.process.wait()
    eventually(lambda: processes_of(config) == [], within=GONE_WITHIN)
    assert is_free(config.run_dir / "daemon.lock")


@pytest.fixture
def rounds(
    config: Config, home: Path, tiny: Path, endless: Path, foreign: subprocess.Popen[bytes]
) -> Callable[[int], None]:
    second = str(shutil.copy(tiny, home / "second.gguf"))
    program = install(home / "engine", tokens=10_000, token_delay=0.01, silent_load=0.05, ignores=("SIGINT",))
    real = config.replace(restore="off")
    for_one = megabytes_for(tiny, engines=1.6, context=2048, program=NATIVE)
    fake = real.replace(engine_path=str(program), default_max_memory_mb=for_one)

    def run(count: int) -> None:
        for number in range(count):
            if number % 2:
                kill_in(SLOW_TO_END[number // 2 % 2], fake, (str(tiny), second))
            else:
                kill_in(ANY_ENGINE[number // 2 % 3], real, (str(endless), second))
        with running_daemon(real):
            assert left_in(config.run_dir) == {"daemon.lock", "oprel.sock", "settings.json"}
        assert alive(foreign.pid)

    return run


def test_nothing_is_left_of_a_daemon_that_was_killed(rounds: Callable[[int], None]) -> None:
    rounds(ROUNDS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_left_of_fifty_daemons_that_were_killed(rounds: Callable[[int], None]) -> None:
    rounds(MANY_ROUNDS)
