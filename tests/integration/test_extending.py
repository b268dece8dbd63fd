"""The examples of docs/extending.md, installed and run."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import orjson
import pytest

from oprel.cli import main as cli
from oprel.client import transports
from oprel.client_api import Client
from oprel.client_async import AsyncClient
from oprel.core.completion import CompletionRequest, Sampling
from oprel.core.config import Config
from oprel.core.exceptions import ConfigError, ConnectError, DownloadError, InvalidModelError, ModelNotFoundError
from oprel.downloader import sources
from oprel.formats import readers
from oprel.formats.model_info import ModelInfo
from oprel.runtime.backends import registry
from oprel.runtime.backends.openai import http as openai_http
from oprel.runtime.backends.translating import Translating
from oprel.runtime.binaries.choices import Choices
from oprel.runtime.engine import EngineLost
from oprel.runtime.http import EngineHttp, Reply
from oprel.runtime.selection.routing import EngineCandidate, route
from oprel.telemetry.hardware.devices import CPU, Memory
from oprel.telemetry.hardware.probing import Hardware
from tests.conftest import NOWHERE, RunningDaemon, alive, eventually, running_daemon, temporary_home
from tests.fixtures import fake_openai_engine, fake_ssh
from tests.fixtures.engine_replies import EngineReplies, reply
from tests.fixtures.hf_llama import write_tiny_llama
from tests.fixtures.hub_server import Behaviour, HubServer, Mode
from tests.fixtures.packages import install

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLE = re.compile(r'```toml\n\[project\.entry-points\."([\w.]+)"\]\n(.*?)```\n\n```python\n(.*?)```', re.DOTALL)
GROUPS = ("oprel.backends", "oprel.formats", "oprel.sources", "oprel.transports")
CACHES = (registry.backends, readers.readers, sources.plugin_sources, transports.transports)
ANSWER = "".join(fake_openai_engine.WORDS)
NAME = "models.acme.example/team/tiny"


@contextlib.contextmanager
def on_path(site: Path) -> Iterator[None]:
    """This process, and those it starts, find what is installed in `site`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", str(site))
        _forget()
        try:
            yield
        finally:
            _forget()


def _forget() -> None:
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    with HubServer(tmp_path_factory.mktemp("acme")).running() as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def packages(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All four examples, with the tests' hub as Acme's."""
    site = tmp_path_factory.mktemp("site")
    examples = EXAMPLE.findall(DOCS.read_text())
    modules = [
        install(site, group, point, source.replace("https://models.acme.example", f"{hub.url}/cdn"))
        for group, point, source in examples
    ]
    assert tuple(group for group, _, _ in examples) == GROUPS
    with on_path(site):
        yield site
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def daemon(packages: Path) -> Iterator[RunningDaemon]:
    """One that finds them, and Acme's engine."""
    with temporary_home() as home:
        config = Config(home=str(home), server_port=0, n_threads=1, hf_endpoint=NOWHERE, ollama_registry=NOWHERE)
        Choices("", {"acme": str(fake_openai_engine.install(home / "engines", "acme"))}).write(home)
        with running_daemon(config) as daemon:
            yield daemon


@pytest.fixture
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client as client:
        yield client


def test_a_backend_of_another_package_is_known_and_ranked() -> None:
    assert registry.named("acme") is import_module("oprel_acme").BACKEND
    info = ModelInfo(format="safetensors", architecture="llama", quantization="BF16", size_bytes=10**9)
    hardware = Hardware(CPU(), Memory(total_bytes=10**11, available_bytes=10**11))
    found = route(info, hardware, [EngineCandidate(one, True) for one in registry.backends().values()])
    assert [one.backend.name for one in found if one.score] == ["vllm", "acme", "transformers"]


async def test_its_dialect_is_spoken() -> None:
    asked, deaths = dict[str, object](), list[str]()

    def engine(path: str, body: bytes) -> Reply:
        asked[path] = orjson.loads(body)
        return reply(200, {"tokens": [1]}) if path == "/encode" else reply(500, {"error": {"message": "worker lost"}})

    dialect = registry.named("acme").dialect
    assert dialect
    http = EngineHttp(Translating(EngineReplies(engine), dialect, 512, deaths.append))
    assert await openai_http.tokenize(http, "a") == [1]
    with pytest.raises(EngineLost):
        request = CompletionRequest("a", Sampling(repeat_penalty=1.1))
        assert [chunk async for chunk in openai_http.complete(http, request)]
    sent = asked["/v1/completions"]
    assert isinstance(sent, dict) and sent["repetition"] == 1.1 and deaths == ["worker lost"]


def write_acme(path: Path, **changes: object) -> Path:
    """A model of Acme's format."""
    header = json.dumps({"architecture": "llama", "parameters": 1_000_000, "context": 2048, **changes}).encode()
    path.write_bytes(b"ACME" + len(header).to_bytes(4, "little") + header + bytes(500_000))
    return path


def test_a_model_of_another_packages_format_is_inspected(
    daemon: RunningDaemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_acme(tmp_path / "tiny.acme")
    assert cli.main(["inspect", str(model), f"--home={daemon.config.home}"]) == 0
    told = capsys.readouterr().out
    for line in (r"format +acme \(confidence 1.00\)", r"quantization +ACME-4bit", r"acme +0\.4.* acme on the CPU"):
        assert re.search(line, told), told
    assert re.search(r"llama\.cpp +0\.00 +it reads gguf, not acme", told)


def test_it_is_served_by_the_engine_that_reads_it(client: Client, tmp_path: Path) -> None:
    model = str(write_acme(tmp_path / "tiny.acme"))
    assert client.chat(model, [{"role": "user", "content": "hello"}]).message.content == ANSWER
    details = client.show(model).details
    assert (details.format, details.family, details.context_length) == ("acme", "llama", 2048)


def test_a_damaged_one_is_refused_with_the_byte_to_blame(client: Client, tmp_path: Path) -> None:
    model = write_acme(tmp_path / "tiny.acme", parameters="many")
    with pytest.raises(InvalidModelError, match=r"its header does not describe a model \(byte 8\)"):
        client.generate(str(model), "hello")


def add_to_hub(hub: HubServer, tag: str, *files: Path, told: bytes | None = None) -> None:
    """A model called `team/tiny`, whose list has the digests of its files, or that of `told`."""
    folder, listed = hub.folder / "team" / "tiny" / tag, []
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        content = file.read_bytes()
        (folder / file.name).write_bytes(content)
        digest = sha256(content if told is None else told).hexdigest()
        url = f"{hub.url}/cdn/team/tiny/{tag}/{file.name}"
        listed.append({"name": file.name, "url": url, "size": len(content), "sha256": digest})
    folder.with_name(f"{tag}.json").write_text(json.dumps(listed))


def test_a_model_of_another_packages_source_is_pulled_over_a_bad_line_and_runs(
    daemon: RunningDaemon,
    client: Client,
    hub: HubServer,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_to_hub(hub, "v1", tiny)
    monkeypatch.setattr(hub, "behaviour", Behaviour(Mode.DROPS, drop_bytes=100_000))
    assert cli.main(["pull", f"{NAME}:v1", f"--home={daemon.config.home}"]) == 0
    assert capsys.readouterr().out == f"pulled '{NAME}:v1'\n"
    assert hub.requests["/cdn/team/tiny/v1/tiny.gguf"] > 1
    assert client.generate(f"{NAME}:v1", "hello", options={"num_predict": 1}).done


def test_files_that_llama_cpp_does_not_read_are_pulled_and_served_by_the_engine_that_does(
    client: Client, hub: HubServer, tmp_path: Path
) -> None:
    add_to_hub(hub, "acme", write_acme(tmp_path / "tiny.acme"))
    add_to_hub(hub, "folder", *write_tiny_llama(tmp_path / "folder").iterdir())
    for tag in ("acme", "folder"):
        client.pull(f"{NAME}:{tag}")
        assert client.generate(f"{NAME}:{tag}", "hello").response == ANSWER
    assert [step.status for step in client.verify_cache()][-1] == "success"
    client.delete(f"{NAME}:folder")
    assert not [file for file in client.cache().files if file.path.endswith(".safetensors")]


@pytest.mark.parametrize(
    ("tag", "status", "text"),
    [
        ("v9", ModelNotFoundError.exit_code, "Acme has no team/tiny:v9"),
        ("bare", ModelNotFoundError.exit_code, "models.acme.example has no team/tiny:bare"),
        ("wrong", DownloadError.exit_code, "digest mismatch"),
    ],
)
def test_what_its_source_does_not_have_or_sends_otherwise_is_told(
    daemon: RunningDaemon,
    hub: HubServer,
    tiny: Path,
    capsys: pytest.CaptureFixture[str],
    tag: str,
    status: int,
    text: str,
) -> None:
    add_to_hub(hub, "wrong", tiny, told=b"something else")
    add_to_hub(hub, "bare")
    assert cli.main(["pull", f"{NAME}:{tag}", f"--home={daemon.config.home}"]) == status
    assert text in capsys.readouterr().err


def test_a_source_that_is_down_is_told(client: Client, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    add_to_hub(hub, "v2")
    monkeypatch.setattr(hub, "behaviour", Behaviour(Mode.DOWN))
    with pytest.raises(DownloadError, match=f"(?m){NAME}:v2 cannot be looked up: Server error '503 .*'$"):
        client.pull(f"{NAME}:v2")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program is that goes by this name."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return fake_ssh.install(tmp_path)


def test_a_daemon_is_reached_by_another_packages_transport(
    daemon: RunningDaemon, ssh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPREL_HOST", f"ssh://me@box{daemon.config.socket_path}")
    assert cli.main(["show", "guide"]) == 0
    assert "architecture" in capsys.readouterr().out
    eventually(lambda: not alive(int(ssh.with_name("ssh.pid").read_text())))


async def test_and_by_the_asynchronous_client(daemon: RunningDaemon, ssh: Path) -> None:
    async with AsyncClient(f"ssh://me@box{daemon.config.socket_path}") as client:
        pieces = [piece async for piece in await client.generate("guide", "hello", stream=True)]
    assert pieces[-1].done and len(pieces) > 1


def test_a_transport_that_leads_nowhere_is_told(ssh: Path) -> None:
    with Client("ssh://nowhere/run/oprel.sock") as client:
        with pytest.raises(ConnectError, match="no daemon answers at ssh://nowhere/run/oprel.sock"):
            client.list()


BROKEN = {"missing": "import there_is_no_such_module", "failing": "raise LookupError", "other": "THING = 'a text'"}


def test_packages_that_do_not_load_are_named_and_harm_nobody(tmp_path: Path, config: Config, tiny: Path) -> None:
    for name, source in BROKEN.items():
        for group in GROUPS:
            install(tmp_path, group, f"broken = oprel_{name}:THING", source)
    with on_path(tmp_path), running_daemon(config) as daemon, daemon.client as client:
        assert client.generate(str(tiny), "hello", options={"num_predict": 1}).done
        with pytest.raises(DownloadError):
            client.pull("127.0.0.1:9/user/model")
        with pytest.raises(ConfigError):
            Client("other://box").list()
        for name in BROKEN:
            for group in ("oprel.backends", "oprel.sources"):
                assert f"skipped oprel_{name}:THING of the package oprel-{name} in {group}: " in daemon.log


def test_a_reader_that_fails_makes_its_file_a_damaged_one(tmp_path: Path) -> None:
    source = "from oprel.formats.readers import Reader\nREADER = Reader('odd', lambda path: path.nonsense)\n"
    install(tmp_path, "oprel.formats", "odd = oprel_odd:READER", source)
    (tmp_path / "model.odd").write_bytes(b"odd")
    with on_path(tmp_path), pytest.raises(InvalidModelError, match="the reader of odd failed: AttributeError"):
        readers.read_with_plugins(tmp_path / "model.odd")
