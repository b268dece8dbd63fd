"""Clients of others over HTTPS: they trust the daemon's own certificate as a file of authorities."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anthropic
import openai
import pytest

from oprel.core.config import Config
from oprel.core.models.manifests import Manifest, Manifests
from oprel.core.names import GUIDE
from tests.clients.ollama_clients import BY_NAME, Call
from tests.conftest import DEADLINE, NOWHERE, RunningDaemon, running_daemon, temporary_home

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def running(tiny: Path) -> Iterator[RunningDaemon]:
    with temporary_home() as home:
        config = Config(
            home=str(home), server_port=0, tls_self_signed="on", n_threads=1, hf_endpoint=NOWHERE, keep_alive="-1"
        )
        Manifests(config.models_dir).put(Manifest(name="tiny:latest", weights=tiny))
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def secure(running: RunningDaemon, monkeypatch: pytest.MonkeyPatch) -> RunningDaemon:
    certificate = str(running.config.own_certificate)
    monkeypatch.setenv("SSL_CERT_FILE", certificate)  # httpx, OpenSSL and Go
    monkeypatch.setenv("CURL_CA_BUNDLE", certificate)
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", certificate)
    return running


@pytest.fixture(params=BY_NAME)
def call(request: pytest.FixtureRequest, secure: RunningDaemon) -> Call:
    return BY_NAME[request.param](secure.url)


def test_clients_of_ollama(call: Call, tiny: Path) -> None:
    assert "tiny:latest" in {model["model"] for model in call("list")["models"]}
    pieces = call("chat", model=GUIDE, messages=MESSAGES, stream=True, options={"num_predict": 8})
    assert len(pieces) > 1 and pieces[-1]["done"]
    assert len(call("embed", model="tiny", input=["a", "b"])["embeddings"]) == 2
    assert call("generate", model="tiny", prompt="a", stream=False, options={"num_predict": 2})["done"]


def test_client_of_openai(secure: RunningDaemon) -> None:
    with openai.OpenAI(base_url=f"{secure.url}/v1", api_key="any", max_retries=0, timeout=DEADLINE) as client:
        stream = client.chat.completions.create(
            model=GUIDE, messages=[{"role": "user", "content": "hi"}], stream=True, max_tokens=8
        )
        assert len(list(stream)) > 1
        assert client.models.list().data


def test_client_of_anthropic(secure: RunningDaemon) -> None:
    with anthropic.Anthropic(base_url=secure.url, api_key="any", max_retries=0, timeout=DEADLINE) as client:
        answer = client.messages.create(model=GUIDE, max_tokens=8, messages=[{"role": "user", "content": "hi"}])
        assert answer.usage.output_tokens > 0


def test_curl_uploads(secure: RunningDaemon, tmp_path: Path) -> None:
    if not (curl := shutil.which("curl")):
        pytest.skip("no curl on this machine")
    file = tmp_path / "file"
    file.write_bytes(b"b" * 1_000_000)
    url = f"{secure.url}/api/blobs/sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    command = [curl, "--silent", "--show-error", "--write-out", "%{http_code}", "--data-binary", f"@{file}", url]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "201"
    health = subprocess.run([curl, "--silent", f"{secure.url}/health"], capture_output=True, check=True).stdout
    assert json.loads(health)["pid"]
