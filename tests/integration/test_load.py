"""Thousands of bad clients at once, with the usual limit of open files: a good one hardly notices them."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from tests.conftest import RunningDaemon, running_daemon
from tests.fixtures import crowd

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

ROUNDS = 40
SECONDS = 20.0
MOST_MEMORY = 400 * 10**6


def first_token(http: httpx.Client) -> float:
    """Seconds until the first token of an answer."""
    began = time.perf_counter()
    with http.stream("POST", "/api/generate", json=crowd.ANSWER) as reply:
        assert reply.status_code == 200
        lines = reply.iter_lines()
        next(lines)
        seconds = time.perf_counter() - began
        *_, last = lines
    assert json.loads(last)["done"]
    return seconds


def first_tokens(daemon: RunningDaemon, rounds: int) -> list[float]:
    with httpx.Client(base_url=daemon.url, timeout=120, trust_env=False) as http:
        return [first_token(http) for _ in range(rounds)]


def most_memory(daemon: RunningDaemon) -> int:
    """The most that was resident, in bytes."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


@pytest.mark.parametrize("limits", ["-S", "-HS"], ids=["raised", "fixed"])
def test_a_crowd_of_bad_clients_disturbs_no_good_one(config: Config, endless: Path, limits: str) -> None:
    """`fixed`: the daemon cannot raise the limit, so that most idle connections find no place."""
    Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=endless))
    with running_daemon(
        config.replace(keep_alive="-1"), ("sh", "-c", f'ulimit {limits} -n 1024; exec "$@"', "sh")
    ) as daemon:
        check(daemon, limits)


def check(daemon: RunningDaemon, limits: str) -> None:
    first_tokens(daemon, 3)
    before = first_tokens(daemon, ROUNDS)
    port = daemon.url.rpartition(":")[2]
    with subprocess.Popen([sys.executable, crowd.__file__, port, str(SECONDS)], stdout=subprocess.PIPE) as clients:
        assert clients.stdout and clients.stdout.readline() == b"ready\n"
        loaded: list[float] = []
        while clients.poll() is None and len(loaded) < 10 * ROUNDS:
            loaded += first_tokens(daemon, 1)
        statuses = Counter(json.loads(clients.stdout.readline()))
    quiet = max(before, first_tokens(daemon, ROUNDS), key=median)  # other programs come and go
    memory, ratio = most_memory(daemon), median(loaded) / median(quiet)
    times = f"{median(quiet) * 1e3:.1f} ms, with the crowd {median(loaded) * 1e3:.1f} ms ({ratio:.2f} times)"
    figures = f"first token {times}, {len(loaded)} answers, {memory / 1e6:.0f} MB, {dict(statuses)}"
    print(f"\nulimit {limits}: {figures}")  # noqa: T201 - the figures are what the test is for
    assert not any(name.endswith("500") for name in statuses) and "internal error" not in daemon.log
    assert memory <= MOST_MEMORY and ratio <= 2
