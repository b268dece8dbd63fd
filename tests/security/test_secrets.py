"""T13: a secret that was planted in the daemon's world is in no answer, no log and no file that it writes."""

import contextlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from tests.conftest import RunningDaemon, running_daemon
from tests.fixtures.fake_engine import install

PLANTED = "planted-4af1"
VARIABLES = ("HF_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN")
DIGEST = f"sha256:{'0' * 64}"
MANIFESTS = {
    "huge": f'{{"config": {{"digest": "{DIGEST}", "size": 1}}, "layers": [{{"digest": "{DIGEST}", "size": {2**63},'
    ' "mediaType": "application/vnd.ollama.image.model"}]}',
    "negative": f'{{"config": {{"digest": "{DIGEST}", "size": -1}}, "layers": []}}',
    "mistyped": '{"config": 5, "layers": "x"}',
    "deep": "[" * 100_000,
    "cut": '{"layers": [',
}


class Registry(BaseHTTPRequestHandler):
    """Wants a token, which it hands out, and has odd manifests; what else it is asked it repeats in an error."""

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        host, token = self.headers["host"], self.headers.get("authorization", "")
        name = self.path.split("/")[3] if self.path.count("/") > 3 else ""
        if self.path.startswith("/token"):
            self._answer(200, f'{{"token": "{PLANTED}-registry"}}')
        elif not token:
            self._answer(401, "{}", {"WWW-Authenticate": f'Bearer realm="http://{host}/token",service="x"'})
        elif name in MANIFESTS:
            self._answer(200, MANIFESTS[name])
        else:
            self._answer(500, f'{{"errors": [{{"message": "{token}"}}]}}', {"X-Token": token})

    do_HEAD = do_GET

    def _answer(self, status: int, content: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content.encode())


@pytest.fixture
def registry() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def daemon(config: Config, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningDaemon]:
    """It has secrets in its environment, says all that it knows, and its engine dies at once."""
    for name in VARIABLES:
        monkeypatch.setenv(name, f"{PLANTED}-{name}")
    engine = install(tmp_path / "engine", die_at_token=1)
    changed = config.replace(log_level="debug", ollama_registry=registry, hf_endpoint=registry, engine_path=str(engine))
    with running_daemon(changed) as running:
        yield running


def test_no_secret_is_told_logged_or_written(daemon: RunningDaemon, tiny: Path) -> None:
    with httpx.Client(base_url=daemon.url, trust_env=False, timeout=60) as http:
        told = [http.post("/api/pull", json={"model": name, "stream": False}) for name in (*MANIFESTS, "other", "a/b")]
        assert {answer.status_code for answer in told} <= {400, 404, 502}, [answer.text for answer in told]
        told.append(http.post("/api/generate", json={"model": str(tiny), "prompt": "x", "stream": False}))
        assert told[-1].status_code == 500
        told += [http.get(path) for path in ("/settings", "/crashes", "/metrics", "/models", "/health", "/quarantine")]
        told.append(http.get(f"/crashes/{http.get('/crashes').json()['crashes'][0]['id']}"))
    texts = {str(answer.url): answer.text + str(answer.headers) for answer in told}
    texts |= {str(path): path.read_bytes().decode("latin-1") for path in files(daemon.config.home_dir)}
    assert len(texts) > 15
    assert [name for name, text in texts.items() if PLANTED in text] == []
    assert "Traceback" not in daemon.log


def test_all_that_a_daemon_writes_is_for_its_user_alone(daemon: RunningDaemon, tiny: Path) -> None:
    with httpx.Client(base_url=daemon.url, trust_env=False, timeout=60) as http:
        http.post("/generate", json={"model": str(tiny), "prompt": "x", "conversation": "c", "stream": False})
        http.post("/api/copy", json={"source": "guide", "destination": "mine"}).raise_for_status()
    home = daemon.config.home_dir
    own = [path for path in (home, *home.rglob("*")) if path.name not in (daemon.log_file.name, "bandwidth.json")]
    assert len(own) > 8
    assert [path for path in own if not path.is_symlink() and path.stat().st_mode & 0o077] == []


def test_an_engine_listens_to_nobody_but_the_daemon(shared_daemon: RunningDaemon) -> None:
    """T12: on a Unix socket, in a folder that is its user's alone."""
    with shared_daemon.client as client:
        client.generate("tiny", "x", options={"num_predict": 1})
        pids = [engine.pid for engine in client.engines().models if engine.pid]
    assert pids
    for pid in pids:
        assert not sockets_of(pid) & listening()
    assert shared_daemon.config.run_dir.stat().st_mode & 0o077 == 0


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


def sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    links = set[str]()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.add(os.readlink(descriptor))
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def listening() -> set[str]:
    """The inodes of TCP sockets that listen."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}
