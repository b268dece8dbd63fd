"""What benchmarks of real engines share: random models that stay for the next run, and engines on sockets."""

import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from tests.fixtures.random_models import write_random_model

START_SECONDS, LOOK_SECONDS = 60.0, 0.05
ANSWER_SECONDS = 600.0  # on a busy machine


class NotStarted(RuntimeError):
    """The engine ended before it was ready, or took too long."""


def random_model(name: str) -> Path:
    """The file of a random model, which is written in the first run."""
    folder = Path(tempfile.gettempdir()) / "oprel-random-models"
    folder.mkdir(exist_ok=True)
    return write_random_model(folder, name)


def over_socket(path: Path) -> httpx.Client:
    """A client of the server that listens on the Unix socket."""
    transport = httpx.HTTPTransport(uds=str(path))
    return httpx.Client(transport=transport, base_url="http://localhost", timeout=ANSWER_SECONDS)


def until_ready(engine: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """Return when the engine is ready. Raises NotStarted."""
    end = time.monotonic() + START_SECONDS
    while not _is_ready(engine):
        if process.poll() is not None or time.monotonic() > end:
            raise NotStarted(f"the engine did not start (exit status {process.returncode})")
        time.sleep(LOOK_SECONDS)


def _is_ready(engine: httpx.Client) -> bool:
    try:
        return engine.get("/health").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
