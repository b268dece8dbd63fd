"""Models pushed to a real registry and pulled from it again. `bin/test registry` runs these alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import pytest

from oprel.client_api import Client
from oprel.core.config import Config
from oprel.core.exceptions import DownloadError, InvalidModelError, ModelNotFoundError, UnsupportedError
from oprel.formats.ollama_manifest import MANIFEST_TYPE
from tests.conftest import DEADLINE, ENGINE_THREADS, RunningDaemon, running_daemon, temporary_home
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.gguf_parts import split, write_projector
from tests.fixtures.model_stores import digest_of
from tests.fixtures.registries import RunningRegistry, docker_login, running_registry
from tests.integration.test_cli import Shell

pytestmark = pytest.mark.registry

SHORT = {"num_predict": 4, "temperature": 0}
USER, PASSWORD = "tester", "U*U"
# Of that password, from crypt_blowfish's own tests.
HTPASSWD = f"{USER}:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """One for tests that each use names of their own."""
    with temporary_home() as home:
        with running_daemon(Config(home=str(home), server_port=0, n_threads=ENGINE_THREADS)) as daemon:
            yield daemon


@pytest.fixture
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client as client:
        yield client


def made(client: Client, name: str, path: Path) -> None:
    """A model that has everything that a model can have."""
    files = {path.name: client.create_blob(path)}
    client.create(
        name,
        files=files,
        system="Be kind.",
        template="{{ .System }} {{ .Prompt }} {{ .Response }}",
        license="MIT",
        parameters={"temperature": 0.5, "stop": ["a", "b"]},
        messages=[{"role": "user", "content": "hi"}],
    )


def test_a_pushed_model_comes_back_as_it_was(client: Client, registry: RunningRegistry, tmp_path: Path):
    name, path = f"{registry.host}/team/tiny:v1", write_tiny_gguf(tmp_path / "tiny.gguf", seed=400)
    made(client, name, path)
    before = client.show(name)
    steps = list(client.push(name, stream=True))
    digest = digest_of(path.read_bytes())
    assert [steps[0].status, *(step.status for step in steps[-2:])] == [
        "retrieving manifest",
        "pushing manifest",
        "success",
    ]
    sent = [step for step in steps if step.digest == digest]
    assert sent[-1].status == f"pushing {digest[7:19]}" and sent[-1].completed == sent[-1].total == path.stat().st_size
    assert client.remove(name).freed_bytes == path.stat().st_size
    with pytest.raises(ModelNotFoundError):
        client.show(name)
    assert client.pull(name).status == "success"
    after = client.show(name)
    assert (after.system, after.template, after.license) == (before.system, before.template, before.license)
    assert (after.parameters, after.messages) == (before.parameters, before.messages)
    assert client.generate(name, "hello", options=SHORT).response
    assert {model.name: model.source for model in client.list().models}[name] == name


def test_what_a_registry_has_is_not_sent_again(client: Client, registry: RunningRegistry, tmp_path: Path):
    path = write_tiny_gguf(tmp_path / "tiny.gguf", seed=401)
    list(client.import_model(f"{registry.host}/team/one", str(path)))
    for _ in range(2):
        steps = list(client.push(f"{registry.host}/team/one", stream=True))
    weights = [step.completed for step in steps if step.digest == digest_of(path.read_bytes())]
    assert weights == [path.stat().st_size]


def test_a_copy_goes_to_another_repository_of_the_registry_and_comes_back(
    client: Client, registry: RunningRegistry, tmp_path: Path
):
    first, second = f"{registry.host}/team/base", f"{registry.host}/group/project/deeper/mine"
    path = write_tiny_gguf(tmp_path / "tiny.gguf", seed=409)
    list(client.import_model(first, str(path)))
    client.push(first)
    client.remove(first)
    client.pull(first)
    client.copy(first, second)
    assert client.push(second).status == "success"
    for name in (first, second):
        client.remove(name)
    client.pull(second)
    url = f"http://{registry.host}/v2/group/project/deeper/mine/blobs/{digest_of(path.read_bytes())}"
    assert httpx.get(url, trust_env=False, timeout=DEADLINE).content == path.read_bytes()
    assert client.generate(second, "hello", options=SHORT).response


def test_a_projector_goes_along(client: Client, registry: RunningRegistry, tmp_path: Path):
    name = f"{registry.host}/team/seeing"
    write_tiny_gguf(tmp_path / "seeing-Q4_0.gguf", seed=402)
    write_projector(tmp_path / "mmproj-seeing.gguf")
    list(client.import_model(name, str(tmp_path)))
    client.push(name)
    client.remove(name)
    client.pull(name)
    assert "vision" in client.show(name).capabilities


def test_a_split_model_has_a_layer_for_each_part(client: Client, registry: RunningRegistry, tmp_path: Path):
    name = f"{registry.host}/team/split"
    parts = split(write_tiny_gguf(tmp_path / "whole.gguf", seed=403), tmp_path)
    client.create(name, files={part.name: client.create_blob(part) for part in parts})
    client.push(name)
    url = f"http://{registry.host}/v2/team/split/manifests/latest"
    manifest = httpx.get(url, headers={"Accept": MANIFEST_TYPE}, trust_env=False, timeout=DEADLINE).json()
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]]
    assert kinds.count("model") == 2
    client.remove(name)
    client.pull(name)
    assert client.generate(name, "hello", options=SHORT).response


def test_ollama_s_own_client_pushes_and_pulls(
    daemon: RunningDaemon, client: Client, registry: RunningRegistry, tmp_path: Path
):
    name = f"{registry.host}/team/official"
    list(client.import_model(name, str(write_tiny_gguf(tmp_path / "m.gguf", seed=404))))
    with ollama.Client(daemon.url) as theirs:
        assert [step.status for step in theirs.push(name, stream=True)][-1] == "success"
        theirs.delete(name)
        assert [step.status for step in theirs.pull(name, stream=True)][-3:] == [
            "verifying sha256 digest",
            "writing manifest",
            "success",
        ]


def test_a_model_that_is_not_there_is_told_in_ollama_s_words(client: Client, registry: RunningRegistry):
    with pytest.raises(ModelNotFoundError, match="pull model manifest: file does not exist"):
        client.pull(f"{registry.host}/team/nonesuch")


def test_a_registry_that_is_not_there_is_told(client: Client, tmp_path: Path):
    name = "127.0.0.1:9/team/m"
    list(client.import_model(name, str(write_tiny_gguf(tmp_path / "m.gguf", seed=405))))
    with pytest.raises(DownloadError, match="the registry 127.0.0.1:9 cannot be reached"):
        client.push(name)


def test_a_registry_without_encryption_is_spoken_to_by_who_says_so(
    client: Client, daemon: RunningDaemon, registry: RunningRegistry, tmp_path: Path
):
    # An address of this machine that is not known to be one, as a registry elsewhere would have.
    name = f"{registry.host.replace('127.0.0.1', '0.0.0.0')}/team/plain"
    list(client.import_model(name, str(write_tiny_gguf(tmp_path / "m.gguf", seed=408))))
    assert client.push(name, insecure=True).status == "success"
    client.remove(name)
    with pytest.raises(DownloadError, match="cannot be reached") as caught:
        client.pull(name)
    assert "--insecure" in caught.value.resolution_steps[1]
    done = Shell(tmp_path, {"home": str(daemon.config.home_dir)})("pull", "--insecure", name)
    assert (done.returncode, done.stdout) == (0, f"pulled '{name}'\n")
    assert client.show(name).details


@pytest.mark.parametrize("name", ["guide", "user/model", "hf.co/a/b"])
def test_names_of_no_registry_cannot_be_pushed(client: Client, name: str):
    if name != "guide":
        client.copy("guide", name)
    with pytest.raises(UnsupportedError, match="is no name of a registry that oprel can push to"):
        client.push(name)


def test_a_registry_that_wants_a_login_has_docker_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with running_registry(tmp_path, htpasswd=users) as registry, temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=ENGINE_THREADS)
        name = f"{registry.host}/team/secret"
        with running_daemon(config) as daemon, daemon.client as client:
            list(client.import_model(name, str(write_tiny_gguf(tmp_path / "m.gguf", seed=406))))
            with pytest.raises(DownloadError, match="refuses access to team/secret") as caught:
                client.push(name)
            assert "docker login" in caught.value.resolution_steps[0]
            docker_login(tmp_path / "docker", registry.host, USER, "wrong")
            with pytest.raises(DownloadError):
                client.push(name)
            docker_login(tmp_path / "docker", registry.host, USER, PASSWORD)
            client.push(name)
            client.remove(name)
            assert client.pull(name).status == "success"


def test_a_manifest_with_a_path_for_a_digest_is_refused(client: Client, registry: RunningRegistry, tmp_path: Path):
    name = f"{registry.host}/team/evil"
    list(client.import_model(name, str(write_tiny_gguf(tmp_path / "m.gguf", seed=407))))
    client.push(name)
    client.remove(name)
    for link in (registry.root / "docker/registry/v2/repositories/team/evil/_manifests/tags/latest").rglob("link"):
        digest = link.read_text().removeprefix("sha256:")
    stored = registry.root / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    manifest = json.loads(stored.read_text())
    manifest["layers"][0]["digest"] = "sha256:../../../../etc/passwd"
    stored.write_text(json.dumps(manifest))
    with pytest.raises((DownloadError, InvalidModelError)):
        client.pull(name)
