"""T1: a name, a digest or a file of a request leads nowhere but to its own place in the home."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import RunningDaemon

NAMES = [
    *("../../outside", "a/../../outside", "..", "a/..", "./../outside/x", "a\\..\\..\\outside", "a/b/c/d/e"),
    *("a\0b", "a\nb", "a\x1b[2Jb", "a%2f..%2foutside", "-rf", "$(reboot)", "a" * 81, "\udcc2\udc9b", "ａ"),
    *("hf.co/../../outside", "hf.co/a/b:../../../outside.gguf", "hf.co/a/..:Q4_0", "https://user:pass@host/m.gguf"),
]
DIGESTS = [
    *("sha256:../../../outside", "sha256:" + "g" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 65, "md5:" + "0" * 32),
    *("sha256-../" + "0" * 61, "sha256:" + "0" * 64 + "/../../x", "..", "sha512:" + "0" * 128),
]
CONTENT = b"a file"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def http(shared_daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared_daemon.url, trust_env=False, timeout=60) as http:
        yield http


@pytest.fixture(autouse=True)
def nothing_changes(shared_daemon: RunningDaemon) -> Iterator[None]:
    """No file comes or goes beside the models, nor among them."""
    before = names_of_files(shared_daemon.config.home_dir)
    yield
    assert names_of_files(shared_daemon.config.home_dir) == before


def names_of_files(home: Path) -> set[Path]:
    """Of models, and of what lies beside their folder and the home."""
    return {*home.joinpath("models").rglob("*"), *home.glob("*outside*"), *home.parent.glob("*outside*")}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_no_name_leads_out_of_the_home(http: httpx.Client, name: str) -> None:
    calls: list[tuple[str, str, dict[str, object]]] = [
        ("POST", "/api/create", {"model": name, "from": "guide"}),
        ("POST", "/api/create", {"model": "new", "from": name}),
        ("POST", "/api/copy", {"source": "guide", "destination": name}),
        ("POST", "/api/copy", {"source": name, "destination": "new"}),
        ("DELETE", "/api/delete", {"model": name}),
        ("POST", "/api/show", {"model": name}),
        ("POST", "/api/push", {"model": name}),
        ("POST", "/api/generate", {"model": name, "prompt": "x", "fetch": False}),
        ("POST", "/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "x"}]}),
    ]
    for method, path, body in calls:
        answer = http.request(method, path, content=json.dumps({**body, "stream": False}))
        assert answer.status_code in (400, 404), (path, answer.text)


@pytest.mark.parametrize("digest", DIGESTS)
def test_only_a_whole_digest_names_a_file(http: httpx.Client, digest: str) -> None:
    request = http.build_request("POST", "/api/blobs/x", content=CONTENT)
    request.url = request.url.copy_with(raw_path=f"/api/blobs/{digest}".encode())
    assert http.send(request).status_code in (400, 404)
    answer = http.post("/api/create", json={"model": "new", "files": {"m.gguf": digest}, "stream": False})
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("file", ["../outside.gguf", "/outside.gguf", "a/../../outside.gguf", "a\0.gguf", "..", ""])
def test_no_file_of_a_model_lies_outside_it(http: httpx.Client, file: str) -> None:
    answer = http.post("/api/create", json={"model": "new", "files": {file: DIGEST}, "stream": False})
    assert answer.status_code == 400, answer.text
