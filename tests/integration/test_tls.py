"""The daemon's HTTPS port, with its own clients."""

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oprel import AsyncClient, Client
from oprel.cli.checkup import check_daemon
from oprel.cli.main import main
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.state.certificate_files import fingerprint_of
from oprel.server.daemon.tls.self_signed import make
from tests.conftest import NOWHERE, RunningDaemon, eventually, running_daemon, temporary_home


@pytest.fixture(scope="module")
def secure_daemon(tiny: Path) -> Iterator[RunningDaemon]:
    with temporary_home() as home:
        config = Config(
            home=str(home), server_port=0, tls_self_signed="on", n_threads=1, hf_endpoint=NOWHERE, keep_alive="-1"
        )
        Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def pinned(secure_daemon: RunningDaemon) -> str:
    return f"{secure_daemon.url}#sha256={fingerprint_of(secure_daemon.config.own_certificate)}"


@pytest.fixture
def elsewhere(home: Path) -> Config:
    """The settings of a user on another machine."""
    return Config(home=str(home))


def test_a_pinned_certificate_is_enough(pinned: str, elsewhere: Config) -> None:
    with Client(pinned, config=elsewhere) as client:
        assert "tiny:latest" in [model.model for model in client.list().models]
        pieces = [
            piece.message.content for piece in client.chat("tiny", [{"role": "user", "content": "a"}], stream=True)
        ]
        assert len(pieces) > 1

    async def generated() -> int:
        async with AsyncClient(pinned, config=elsewhere) as client:
            stream = await client.generate("tiny", "a", stream=True, options={"num_predict": 4})
            return len([piece async for piece in stream])

    assert asyncio.run(generated()) > 1


def test_commands_use_the_address(
    pinned: str, elsewhere: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPREL_HOME", elsewhere.home)
    monkeypatch.setenv("OPREL_HOST", pinned.upper().replace("HTTPS://", "https://").replace("#SHA256", "#sha256"))
    for command in (["list"], ["ps"], ["show", "tiny"]):
        assert main(command) == 0
    assert "tiny:latest" in capsys.readouterr().out


def test_the_daemon_of_the_same_home_needs_no_fingerprint(secure_daemon: RunningDaemon) -> None:
    with Client(secure_daemon.url, config=secure_daemon.config) as client:
        assert client.health().version


def test_doctor_shows_the_fingerprint(secure_daemon: RunningDaemon, pinned: str) -> None:
    _, finding = check_daemon(secure_daemon.config)
    assert finding.text.endswith(f", at {pinned}")


def test_authorities_of_the_user_count(
    secure_daemon: RunningDaemon, elsewhere: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(secure_daemon.config.own_certificate))
    with Client(secure_daemon.url, config=elsewhere) as client:
        assert client.health().version


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_not_trusted_is_refused_with_a_sentence(
    secure_daemon: RunningDaemon, pinned: str, elsewhere: Config, *, is_async: bool
) -> None:
    def ask(address: str) -> str:
        with pytest.raises(ConnectError) as caught:
            if is_async:
                asyncio.run(AsyncClient(address, config=elsewhere).list())
            else:
                Client(address, config=elsewhere).list()
        return caught.value.message

    url, fingerprint = pinned.split("#")
    shown = f"it has the fingerprint {fingerprint}"
    assert ask(url) == f"the certificate of {url} is not trusted (self-signed certificate); {shown}"
    other = f"{url}#sha256={'ab' * 32}"
    assert ask(other) == f"{url} has another certificate than the one that its address names; {shown}"
    plain = url.replace("https:", "http:")
    assert ask(plain) == f"this port speaks HTTPS: use {url}"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert ask(f"https://127.0.0.1:{port}") == f"no daemon answers at https://127.0.0.1:{port}"


def test_plain_http_is_called_that(client: Client, shared_daemon: RunningDaemon, elsewhere: Config) -> None:
    address = shared_daemon.url.replace("http:", "https:")
    with pytest.raises(ConnectError, match=f"{address} does not speak HTTPS"):
        Client(address, config=elsewhere).list()


@pytest.mark.parametrize("end", ["#sha256=12", "#md5=" + "ab" * 16, "#x"])
def test_an_address_with_half_a_fingerprint_is_refused(end: str) -> None:
    with pytest.raises(ConfigError, match="is not the fingerprint of a certificate"):
        _ = Client(f"https://box{end}").address
    with pytest.raises(ConfigError, match="only an https:// address"):
        _ = Client(f"http://box#sha256={'ab' * 32}").address


def test_a_renewed_certificate_is_for_new_connections(start_daemon, home: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"
    make(certificate, key)
    daemon: RunningDaemon = start_daemon(tls_certificate=str(certificate), tls_key=str(key))
    old = f"{daemon.url}#sha256={fingerprint_of(certificate)}"
    with Client(old, config=daemon.config) as kept:
        assert kept.health()
        make(certificate, key)
        new = f"{daemon.url}#sha256={fingerprint_of(certificate)}"

        def is_new() -> bool:
            with Client(new, config=daemon.config) as client, contextlib.suppress(ConnectError):
                return bool(client.health())
            return False

        eventually(is_new)
        assert kept.health()
        with Client(old, config=daemon.config) as again, pytest.raises(ConnectError, match="another certificate"):
            again.health()


def test_uploads_and_long_answers_pass(secure_daemon: RunningDaemon, tiny: Path) -> None:
    trust = ssl.create_default_context(cafile=secure_daemon.config.own_certificate)
    with httpx.Client(base_url=secure_daemon.url, verify=trust, trust_env=False, timeout=60) as http:
        content = tiny.read_bytes() * 40  # 10 MB
        digest = hashlib.sha256(content).hexdigest()
        assert http.post(f"/api/blobs/sha256:{digest}", content=content).status_code == 201
        assert http.head(f"/api/blobs/sha256:{digest}").status_code == 200
        document = http.get("/openapi.json")
        assert len(document.content) > 100_000 and document.json()["openapi"]
