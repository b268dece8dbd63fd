"""Scenes from the life of a machine: what a running daemon does when what it stands on is changed."""

import contextlib
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from oprel.client.own_daemon import serve_command
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import DEADLINE, RunningDaemon, alive, eventually, running_daemon
from tests.fixtures.fake_engine import install

pytestmark = pytest.mark.long

StartDaemon = Callable[..., RunningDaemon]
RUNS, PERIOD = 0.01, 0.1  # s in which a limiter lets a process run, and of each turn


def http_to(daemon: RunningDaemon) -> httpx.Client:
    return httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False)


def generate(http: httpx.Client, model: Path | str, **more: object) -> httpx.Response:
    body = {"model": str(model), "prompt": "hello", "stream": False, "options": {"num_predict": 5, "seed": 1}}
    return http.post("/api/generate", json=body | more)


def ok(answer: httpx.Response) -> str:
    assert answer.status_code == 200 and answer.json()["done"], answer.text
    return str(answer.json()["response"])


@contextlib.contextmanager
def limited(pids: Callable[[], list[int]]) -> Iterator[None]:
    """The processes get a tenth of the time, as from a limiter that stops them again and again."""
    over = threading.Event()

    def limit() -> None:
        while not over.wait(RUNS):
            stopped = [pid for pid in pids() if alive(pid)]
            for pid in stopped:
                os.kill(pid, signal.SIGSTOP)
            over.wait(PERIOD - RUNS)
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=limit)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def engines(daemon: RunningDaemon) -> list[int]:
    return [int(record.stem) for record in (daemon.config.run_dir / "engines").glob("*.json")]


def test_a_tenth_of_the_time_is_enough(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    """Limits that are short for it: nothing that is only slow is taken for stuck."""
    journal = home / "journal"
    program = install(home / "engine", prefill_tokens=10, prefill_batch=5, prefill_cpu=0.05, journal=str(journal))
    daemon = start_daemon(engine_path=str(program), load_timeout="3s", stall_timeout="3s")
    with http_to(daemon) as http, limited(lambda: [daemon.process.pid, *engines(daemon)]):
        assert ok(generate(http, tiny)) == " t0 t1 t2 t3 t4"
    assert journal.read_text().count("start ") == 1


def test_a_full_home_stops_no_answer(start_daemon: StartDaemon, home: Path, tiny: Path) -> None:
    """No byte can be written any more, as on a full disk: models are loaded and answer, and errors say why."""
    other = shutil.copy(tiny, home / "other.gguf")
    daemon = start_daemon(keep_alive="1s")
    with http_to(daemon) as http:
        first = ok(generate(http, tiny))
        as_before = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, as_before[1]))
        assert ok(generate(http, other)) == first
        eventually(lambda: not http.get("/api/ps").json()["models"])
        assert ok(generate(http, tiny)) == first
        assert [http.get(path).status_code for path in ("/api/tags", "/health", "/metrics")] == [200] * 3
        refused = http.post("/api/copy", json={"source": "guide", "destination": "mine"})
        assert refused.status_code >= 400 and "internal error" not in refused.text
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, as_before)
        assert http.post("/api/copy", json={"source": "guide", "destination": "mine"}).status_code == 200
        ok(generate(http, "mine"))
    assert daemon.end() == 0


@pytest.fixture
def logging_daemon(config: Config) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Start a daemon whose output goes to this file descriptor."""
    with contextlib.ExitStack() as stack:

        def start(output: int) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                serve_command(config), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        yield start


@pytest.mark.parametrize("kind", ["terminal", "pipe"])
def test_a_daemon_outlives_the_reader_of_its_log(
    config: Config, logging_daemon: Callable[[int], subprocess.Popen[bytes]], tiny: Path, kind: str
) -> None:
    """Each line that is written to a dead terminal is an EIO, to a pipe that nobody reads an EPIPE."""
    mine, its = pty.openpty() if kind == "terminal" else os.pipe()
    process = logging_daemon(its)
    os.close(its)
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(config.socket_path)), base_url="http://localhost", timeout=DEADLINE
    ) as http:
        eventually(lambda: config.socket_path.exists() and _answers(http))
        os.close(mine)
        ok(generate(http, tiny))
        ok(generate(http, tiny, options={"num_ctx": 128, "num_predict": 5}))  # another engine: more lines
        assert http.post("/api/show", json={"model": "none"}).status_code == 404
    process.terminate()
    assert process.wait(DEADLINE) == 0


def _answers(http: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return http.get("/health").status_code == 200
    return False


@pytest.mark.parametrize("way", ["moved", "copied and truncated", "removed"])
def test_a_log_that_logrotate_takes_is_continued(
    config: Config, logging_daemon: Callable[[int], subprocess.Popen[bytes]], way: str
) -> None:
    log, old = config.logs_dir / "daemon.log", config.logs_dir / "daemon.log.1"
    log.parent.mkdir(parents=True)
    with log.open("ab") as output:
        logging_daemon(output.fileno())
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(config.socket_path)), base_url="http://localhost", timeout=DEADLINE
    ) as http:
        eventually(lambda: config.socket_path.exists() and _answers(http))
        if way == "moved":
            log.rename(old)
        elif way == "copied and truncated":
            shutil.copy(log, old)
            os.truncate(log, 0)
        else:
            log.unlink()
        ok(generate(http, "guide"))
        eventually(lambda: log.exists() and "ready" in log.read_text())
        assert b"\0" not in log.read_bytes()


def test_a_folder_for_temporary_files_that_is_removed_is_not_missed(
    start_daemon: StartDaemon, home: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cleaner of /tmp does it, or `systemd-tmpfiles` on a private one."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    daemon = start_daemon(keep_alive="1s")
    with http_to(daemon) as http:
        first = ok(generate(http, tiny))
        shutil.rmtree(folder)
        eventually(lambda: not http.get("/api/ps").json()["models"])
        assert ok(generate(http, tiny)) == first
        assert ok(generate(http, tiny, template="{{ .Prompt }}"))


def test_two_versions_and_two_time_zones_take_turns_on_one_home(
    config: Config, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a later version adds to the files of a home hides nothing, and times are the same everywhere."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # 25 hours before the other
    Manifests(config.models_dir).put(Manifest(name="known:latest", weights=tiny))
    with running_daemon(config) as daemon, http_to(daemon) as http:
        first = ok(generate(http, "known", keep_alive="10m"))
        eventually(lambda: "known" in _content(config.home_dir / "loaded.json"))
    add_news(config)
    monkeypatch.setenv("TZ", "Pacific/Pago_Pago")
    with running_daemon(config) as daemon, http_to(daemon) as http:
        eventually(lambda: http.get("/api/ps").json()["models"])  # it is loaded again
        assert "known:latest" in [model["name"] for model in http.get("/api/tags").json()["models"]]
        assert ok(generate(http, "known")) == first


def _content(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def add_news(config: Config) -> None:
    """Fields that this version does not know, in each JSON file of the home."""
    for file in config.home_dir.rglob("*.json"):
        match json.loads(file.read_text()):
            case dict() as content:
                file.write_text(json.dumps(content | {"news": {"any": [1, None]}}))
            case list() as entries:
                file.write_text(json.dumps([entry | {"news": [1]} for entry in entries]))
