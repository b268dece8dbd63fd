"""What lies in the home, or changes there while others look, ends no request and no list."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from oprel.core.models.manifests import Manifest, Manifests
from oprel.server.api.common import decode
from tests.conftest import RunningDaemon

CLIENTS, ROUNDS = 8, 6


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, trust_env=False, timeout=60) as http:
        yield http


def test_copies_and_deletions_of_many_clients_are_done_or_refused(http: httpx.Client) -> None:
    def work(client: int) -> list[int]:
        statuses = []
        for number in range(ROUNDS):
            for name in ("folder/shared", f"folder{client}/own{number}"):
                statuses.append(http.post("/api/copy", json={"source": "guide", "destination": name}).status_code)
                statuses.append(http.get("/api/tags").status_code)
                statuses.append(http.request("DELETE", "/api/delete", json={"model": name}).status_code)
        return statuses

    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = [status for done in pool.map(work, range(CLIENTS)) for status in done]
    assert {*statuses} <= {200, 404}
    assert not any(model["name"].startswith("folder") for model in http.get("/api/tags").json()["models"])


@pytest.mark.parametrize("kind", ["FIFO", "folder", "socket", "link in a circle", "link to a device"])
def test_only_files_are_read_as_manifests(tmp_path: Path, kind: str) -> None:
    good = Manifest(name="tiny:latest", weights=Path("/tiny.gguf"))
    Manifests(tmp_path).put(good)
    odd = tmp_path / "odd.json"
    match kind:
        case "FIFO":
            os.mkfifo(odd)
        case "folder":
            odd.mkdir()
        case "socket":
            os.mknod(odd, 0o140600)
        case "link in a circle":
            odd.symlink_to(odd)
        case _:
            odd.symlink_to("/dev/zero")
    assert good in list(Manifests(tmp_path))
    assert [manifest.name for manifest in Manifests(tmp_path) if manifest.name.startswith("odd")] == []


def test_no_number_of_threads_makes_an_engine_that_cannot_start() -> None:
    _, load = decode.options({"num_thread": 100_000}, {})
    assert load.num_thread and load.num_thread <= 1024
