"""A daemon that can write nothing more: each request that stores something says so with 507, and the others are served.

The limit of a file's size is the kernel's, and what it does to a write is what a full disk does.
"""

import hashlib
import resource
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningDaemon, lasting_daemon
from tests.fixtures.hub_server import HubServer

CONTENT = b"weights"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
ONE_TOKEN = {"num_predict": 1}


@pytest.fixture(scope="module")
def full(tiny: Path) -> Iterator[RunningDaemon]:
    with lasting_daemon(tiny) as daemon:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield daemon


@pytest.fixture
def http(full: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=full.url, timeout=60, trust_env=False) as http:
        yield http


def imported(http: httpx.Client, file: Path, how: str) -> httpx.Response:
    body = {"model": "new", "path": str(file), "how": how, "stream": False}
    return http.post("/api/models/import", json=body)


STORING: dict[str, Callable[[httpx.Client, Path], httpx.Response]] = {
    "upload": lambda http, file: http.post(f"/api/blobs/{DIGEST}", content=CONTENT),
    "create": lambda http, file: http.post("/api/create", json={"model": "new", "from": "tiny", "stream": False}),
    "copy": lambda http, file: http.post("/api/copy", json={"source": "tiny", "destination": "new"}),
    "import, link": lambda http, file: imported(http, file, "link"),
    "import, copy": lambda http, file: imported(http, file, "copy"),
    "import, in place": lambda http, file: imported(http, file, "in_place"),
}


@pytest.mark.parametrize("storing", STORING)
def test_what_cannot_be_stored_is_said(full: RunningDaemon, http: httpx.Client, tiny: Path, storing: str) -> None:
    answer = STORING[storing](http, tiny)
    assert answer.status_code == 507, answer.text
    assert answer.json()["code"] == "disk_full" and str(full.config.models_dir) in answer.json()["resolution_steps"][0]
    assert {model["name"] for model in http.get("/api/tags").json()["models"]} == {"guide:latest", "tiny:latest"}
    assert not list(full.config.models_dir.glob("**/.*"))


def test_a_stream_of_steps_ends_with_it(http: httpx.Client) -> None:
    *_, last = http.post("/api/create", json={"model": "new", "from": "tiny"}).text.splitlines()
    assert '"code":"disk_full"' in last


def test_an_answer_is_given_and_says_that_it_will_not_be_remembered(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "hi", "conversation_id": "c", "stream": False, "options": ONE_TOKEN}
    answer = http.post("/generate", json=body)
    assert answer.status_code == 200 and answer.json()["remembered"] is False


def test_a_pull_is_refused(tiny: Path, tmp_path: Path, start_daemon: Callable[..., RunningDaemon]) -> None:
    served = tmp_path / "org" / "tiny-GGUF"
    served.mkdir(parents=True)
    (served / "tiny-Q8_0.gguf").write_bytes(tiny.read_bytes())
    with HubServer(tmp_path).running() as hub:
        daemon = start_daemon(hf_endpoint=hub.url)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with closing(httpx.Client(base_url=daemon.url, timeout=60, trust_env=False)) as http:
            answer = http.post("/api/pull", json={"model": "hf.co/org/tiny-GGUF", "stream": False})
            assert (answer.status_code, answer.json()["code"]) == (507, "disk_full"), answer.text
            assert http.get("/health").status_code == 200
