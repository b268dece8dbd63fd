"""Pulls of models that other programs keep: their origins are asked, and nothing of theirs changes."""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import hf_hub_download

from oprel.core.config import Config
from oprel.core.exceptions import UnsupportedError
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.network import retries
from oprel.formats.headers.remote import START_STEPS
from tests.fixtures.download_home import DownloadHome, layout
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.hub_server import HubServer
from tests.fixtures.model_stores import add_files, add_to_ollama

REPO, FILE = "org/tiny-GGUF", "tiny-Q8_0.gguf"
NAME = f"hf.co/{REPO}:Q8_0"


class OllamaRegistry(ThreadingHTTPServer):
    """Serves what a folder in Ollama's layout holds. `seen`: the paths that were requested."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _RegistryHandler)
        self.folder, self.seen = folder, list[str]()
        self.host = f"127.0.0.1:{self.server_port}"

    def content(self, path: str) -> bytes:
        self.seen.append(path)
        name, kind, last = path.removeprefix("/v2/").rsplit("/", 2)
        is_blob = kind == "blobs"
        file = self.folder / "blobs" / last.replace(":", "-") if is_blob else self.folder / "manifests" / name / last
        return file.read_bytes()


class _RegistryHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OllamaRegistry

    def do_GET(self) -> None:
        content = self.server.content(self.path)
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match:
            first, last = int(match[1]), min(int(match[2]), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    folder = tmp_path / "served" / REPO
    folder.mkdir(parents=True)
    write_tiny_gguf(folder / FILE, seed=1)
    with HubServer(tmp_path / "served").running() as server:
        yield server


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[OllamaRegistry]:
    with OllamaRegistry(tmp_path / "published") as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, where other programs have their models."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
async def home(tmp_path: Path, hub: HubServer, theirs: Path) -> AsyncIterator[DownloadHome]:
    async with contextlib.aclosing(DownloadHome(Config(home=str(tmp_path / "home"), hf_endpoint=hub.url))) as home:
        home.config.models_dir.mkdir(parents=True)
        yield home


def provider(home: DownloadHome, name: str) -> str:
    return home.library.manifest(ModelRef.parse(name)).provider


def has_fetched_from(hub: HubServer) -> bool:
    """More than the starts by which files tell what they are."""
    return sum(count for path, count in hub.sent.items() if path.startswith("/cdn/")) > 4 * START_STEPS[0]


async def test_hugging_face_s_model_is_compared_with_the_hub_s(home: DownloadHome, hub: HubServer, theirs: Path):
    hf_hub_download(REPO, FILE, endpoint=hub.url, cache_dir=theirs / ".cache/huggingface/hub", token=False)
    before = layout(theirs)
    hub.seen.clear()
    hub.sent.clear()
    said = await home.pull(NAME)
    assert said == f"{NAME} is up to date; it belongs to Hugging Face's programs: `hf download {REPO}` updates it"
    assert hub.seen and not has_fetched_from(hub)
    assert home.library.check(home.library.manifest(ModelRef.parse(NAME))).notes[-1] == said.partition("; it ")[2]
    write_tiny_gguf(hub.folder / REPO / FILE, seed=2)
    said = await home.pull(NAME)
    assert said.startswith("fetched another version; the one that was used so far belongs to Hugging Face's programs")
    assert provider(home, NAME) == "oprel"
    assert (await home.remove(NAME)).freed_bytes > 0
    await home.removal.sweep()
    assert (layout(theirs), provider(home, NAME)) == (before, "huggingface")
    with pytest.raises(UnsupportedError, match="belongs to huggingface"):
        await home.remove(NAME)


async def test_lm_studio_s_model_is_compared_by_size(home: DownloadHome, hub: HubServer, theirs: Path):
    content = (hub.folder / REPO / FILE).read_bytes()
    add_files(theirs / ".lmstudio/models" / REPO, {FILE: content})
    before = layout(theirs)
    assert (await home.pull(f"{REPO}:Q8_0")).startswith(f"{REPO}:Q8_0 is up to date; it belongs to LM Studio")
    assert await home.pull(NAME) and not has_fetched_from(hub)  # the same model by its address at the hub
    (hub.folder / REPO / FILE).write_bytes(content + bytes(1000))
    await home.pull(NAME)
    await home.remove(NAME)
    await home.removal.clear()
    assert layout(theirs) == before


async def test_ollama_s_model_is_compared_with_its_registry_s(
    home: DownloadHome, registry: OllamaRegistry, theirs: Path, tmp_path: Path
):
    place, name = f"{registry.host}/team/tiny/v1", f"{registry.host}/team/tiny:v1"
    weights = [write_tiny_gguf(tmp_path / f"{seed}.gguf", seed=seed).read_bytes() for seed in (1, 2)]
    add_to_ollama(theirs / ".ollama/models", place, [("model", weights[0])])
    add_to_ollama(registry.folder, "team/tiny/v1", [("model", weights[0])])
    before = layout(theirs)
    assert (await home.pull(name)).startswith(f"{name} is up to date; it belongs to Ollama: `ollama pull {name}`")
    assert registry.seen and not [path for path in registry.seen if "/blobs/" in path]
    add_to_ollama(registry.folder, "team/tiny/v1", [("model", weights[1])])
    assert (await home.pull(name)).startswith("fetched another version")
    assert home.library.manifest(ModelRef.parse(name)).weights.read_bytes() == weights[1]
    await home.remove(name)
    await home.removal.sweep()
    assert (layout(theirs), provider(home, name)) == (before, "ollama")


async def test_what_cannot_be_looked_up_is_said_to_be(
    home: DownloadHome, hub: HubServer, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    weights = (hub.folder / REPO / FILE).read_bytes()
    add_to_ollama(theirs / ".ollama/models", "127.0.0.1:9/team/tiny/v1", [("model", weights)])
    add_files(theirs / ".cache/llama.cpp", {"loose.gguf": weights})
    home.library.manifests.put(Manifest(name="mine", weights=tmp_path / "served" / REPO / FILE))
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.001)
    said = await home.pull("127.0.0.1:9/team/tiny:v1")
    assert said.startswith("kept as it is: ") and "belongs to Ollama: `ollama pull" in said
    assert await home.pull("loose") == (
        "nothing was looked up: loose:latest belongs to llama.cpp, which has no origin for it"
    )
    assert await home.pull("mine") == "nothing was looked up: mine:latest was made here, so it has no origin"
    assert await home.pull("guide") == "nothing was looked up: guide:latest comes with oprel"
