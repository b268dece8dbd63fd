"""10 000 models: how long their list takes, and how long it keeps the daemon from its other requests."""

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.bench import Bench, Values
from benchmarks.figures import OPREL, Figure
from benchmarks.processes import Daemon, cpu_seconds, running_daemon
from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.fixtures.gguf_factory import write_tiny_gguf

MODELS = 10_000
CALM_SECONDS = 0.5
PING = b"GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"
QUIET = "without a list"


def measure(bench: Bench) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="oprel-bench-") as folder:
        fill(Path(folder))
        with running_daemon(home=Path(folder)) as daemon:
            sides = {OPREL: partial(listed, daemon), QUIET: partial(undisturbed, daemon)}
            for name, rounds in bench.compare(sides).items():
                yield Figure(subject="lists", name=f"{MODELS} models: {name}", unit="ms", rounds=rounds)


def fill(home: Path) -> None:
    """Install models, each with a file and a manifest of its own."""
    folder = Config(home=str(home)).models_dir
    first = write_tiny_gguf(home / "model-0.gguf")
    Manifests(folder).put(Manifest(name="model-0:latest", weights=first))
    (manifest,) = folder.rglob("*model-0*")
    content = manifest.read_text()
    for number in range(1, MODELS):
        name = f"model-{number}"
        first.with_stem(name).hardlink_to(first)
        manifest.with_name(manifest.name.replace("model-0", name)).write_text(content.replace("model-0", name))


def listed(daemon: Daemon) -> Values:
    began = cpu_seconds(daemon.pid)
    with Pings(daemon) as pings:
        start = time.perf_counter()
        response = daemon.http.get("/api/tags")
        seconds = time.perf_counter() - start
    assert response.text.count('"digest"') > MODELS
    return {
        "list": seconds * 1e3,
        "CPU a list": (cpu_seconds(daemon.pid) - began) * 1e3,
        "slowest other request": pings.slowest * 1e3,
    }


def undisturbed(daemon: Daemon) -> Values:
    with Pings(daemon) as pings:
        time.sleep(CALM_SECONDS)
    return {"slowest other request": pings.slowest * 1e3}


class Pings:
    """Small requests, one after the other, for as long as the context lasts."""

    def __init__(self, daemon: Daemon) -> None:
        self.slowest = 0.0
        self._path = daemon.address.removeprefix("unix:")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> "Pings":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._path)
            while not self._ended.is_set():
                began = time.perf_counter()
                connection.sendall(PING)
                connection.recv(4096)
                self.slowest = max(self.slowest, time.perf_counter() - began)
