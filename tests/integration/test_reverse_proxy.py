"""nginx in front of the daemon, as docs/reverse-proxy.md shows it: it ends TLS, and passes everything on at once."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.state.keys import KeyStore, StoredKey, new_key
from tests.conftest import RunningDaemon, eventually, running_daemon, temporary_home
from tests.fixtures.fake_engine import install
from tests.fixtures.nginx import RunningProxy, running_nginx

ASKS, ADMIN = new_key("asks", "inference", created=0), new_key("all", "admin", created=0)
MIB = b"m" * 2**20


@pytest.fixture(scope="module")
def daemon(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """Its engine sends a token of each answer, and then no more."""
    engine = install(tmp_path_factory.mktemp("engine"), hang_at_token=1)
    with temporary_home() as home:
        config = Config(
            home=str(home),
            server_port=0,
            engine_path=str(engine),
            stall_timeout="1h",
            allowed_hosts="ai.example",
            trusted_proxies="127.0.0.1",
        )
        prepare_home(config)
        with closing(KeyStore.at(config.home_dir / "state.db")) as store:
            for key, _ in (ASKS, ADMIN):
                store.add(key)
        Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture(scope="module")
def proxy(daemon: RunningDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with running_nginx(tmp_path_factory.mktemp("nginx"), daemon.url) as proxy:
        yield proxy


def with_key(key: tuple[StoredKey, str]) -> dict[str, str]:
    return {"authorization": f"Bearer {key[1]}"}


@pytest.fixture
def http(proxy: RunningProxy) -> Iterator[httpx.Client]:
    with proxy.client(**with_key(ADMIN)) as http:
        yield http


def test_its_clients_need_a_key_though_the_own_user_runs_it(proxy: RunningProxy, tiny: Path) -> None:
    with proxy.client() as stranger:
        assert stranger.get("/api/tags").status_code == 401
        assert stranger.options("/v1/models", headers={"origin": "http://localhost"}).status_code == 204
        assert stranger.get("/", headers={"host": "ai.example"}).status_code == 200
        assert stranger.get("/", headers={"host": "evil.example"}).status_code == 403
    with proxy.client(**with_key(ASKS)) as guest:
        assert guest.get("/api/tags").status_code == 200
        assert guest.get("/logs").status_code == 403
        assert guest.post("/api/show", json={"model": str(tiny)}).status_code == 404


def test_the_log_of_requests_has_the_address_of_the_client(daemon: RunningDaemon, proxy: RunningProxy) -> None:
    with proxy.client_at("127.0.0.7", **with_key(ASKS)) as guest:
        assert guest.get("/api/version", headers={"x-forwarded-for": "6.6.6.6"}).status_code == 200
    log = daemon.config.logs_dir / "requests.log"
    eventually(lambda: log.exists() and any("127.0.0.7" in line and "asks" in line for line in lines_of(log)))
    assert "6.6.6.6" not in log.read_text(), "what a client says of itself"


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_a_piece_of_an_answer_waits_for_no_other_and_a_client_that_leaves_is_noticed(
    daemon: RunningDaemon, http: httpx.Client
) -> None:
    with http.stream("POST", "/api/generate", json={"model": "tiny", "prompt": "a"}) as answer:
        lines = answer.iter_lines()
        assert json.loads(next(lines))["response"]
        assert busy(daemon) == 1
    eventually(lambda: busy(daemon) == 0)


def busy(daemon: RunningDaemon) -> int:
    """Requests in engines."""
    with daemon.client as client:
        return sum(model.in_flight for model in client.engines().models)


def upload(http: httpx.Client, mebibytes: int) -> int:
    digest = hashlib.sha256()
    for _ in range(mebibytes):
        digest.update(MIB)
    return http.post(f"/api/blobs/sha256:{digest.hexdigest()}", content=(MIB for _ in range(mebibytes))).status_code


def peak_memory(daemon: RunningDaemon) -> int:
    """Bytes, proc(5): VmHWM."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_uploads_are_passed_on_as_they_come(proxy: RunningProxy, http: httpx.Client) -> None:
    assert upload(http, 8) == 201
    assert [path for path in (proxy.folder / "body").rglob("*") if path.is_file()] == []


@pytest.mark.long
def test_an_upload_of_a_gigabyte_takes_no_memory(daemon: RunningDaemon, http: httpx.Client) -> None:
    assert upload(http, 16) == 201
    before = peak_memory(daemon)
    assert upload(http, 1000) == 201
    assert peak_memory(daemon) - before < 32 * 2**20
