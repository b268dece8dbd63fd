"""A download never fills the folder that a disk with models is mounted on, and waits for what may come back."""

import json
import shutil
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pytest

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError
from oprel.core.models.manifests import Manifest
from oprel.core.names import ModelRef
from oprel.downloader.backoff import Unreachable, is_passing
from oprel.downloader.offers import Offer, Target, usual
from oprel.downloader.source import RemoteFile
from oprel.downloader.transfer.ranges import LoginRefused
from oprel.formats.ollama_manifest import LAYER_TYPE
from oprel.server.downloads import fetcher
from oprel.server.downloads.fetcher import ModelFetcher, StoreAway
from oprel.server.downloads.task import Download
from oprel.server.models.library import Library
from tests.fixtures.gguf_factory import write_tiny_gguf
from tests.fixtures.model_stores import digest_of

FILE = RemoteFile(name="m.gguf", url="https://x.example/m.gguf", size_bytes=100)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(home=str(tmp_path / "home"), cache_dir=str(tmp_path / "disk"))


def offer(folder: Path) -> Offer:
    def manifest(name: str) -> Manifest:
        raise AssertionError("nothing is installed here")

    return Offer("m", (Target(FILE, folder / "m.gguf"),), manifest)


def download(*destinations: Path) -> Download:
    ref = ModelRef.parse("hf.co/org/repo")
    return Download(id="1", ref=ref, recorded=(100, 0), destinations=frozenset(destinations))


def check(config: Config, begun: Download, folder: Path) -> None:
    ModelFetcher(config, Library(config), usual, lambda: False)._check_store(begun, offer(folder))


def test_a_folder_that_never_had_a_model_may_be_new(config: Config):
    check(config, download(), config.hub_dir)


def test_one_that_models_are_said_to_be_in_is_mounted_first(config: Config):
    file = config.hub_dir / "models--org--repo" / "m.gguf"
    Library(config).manifests.put(Manifest(name="m", weights=file, source="hf.co/org/repo"))
    with pytest.raises(StoreAway, match=str(config.hub_dir)):
        check(config, download(), config.hub_dir)
    check(config, download(), config.models_dir / "blobs")  # that is another disk
    file.parent.mkdir(parents=True)
    check(config, download(), config.hub_dir)


def test_so_is_one_that_a_download_has_begun_in(config: Config):
    part = config.hub_dir / "models--org--repo" / "m.gguf"
    with pytest.raises(StoreAway):  # also where the daemon was killed before it could record a byte
        check(config, download(part), config.hub_dir)


@pytest.mark.parametrize(
    ("keep", "begun", "error", "waits"),
    [
        (True, False, Unreachable("no network"), True),
        (True, False, StoreAway("no disk"), True),
        (False, True, Unreachable("no network"), True),
        (False, True, StoreAway("no disk"), False),
        (False, False, Unreachable("no network"), False),
    ],
)
def test_a_client_that_waits_is_told_what_it_may_be_able_to_mend(
    keep: bool, begun: bool, error: Unreachable, waits: bool
):
    task = download(*[Path("/m.gguf")] * begun)
    task.keep = keep
    assert task.outlives(error) is waits


def test_only_answers_that_may_change_by_themselves_are_waited_for():
    assert [status for status in (200, 401, 403, 404, 408, 410, 425, 429, 500, 503) if is_passing(status)] == [
        *(408, 425, 429, 500, 503)
    ]
    assert issubclass(Unreachable, DownloadError) and Unreachable.code == DownloadError.code


async def test_one_that_goes_in_the_middle_is_waited_for(config: Config, monkeypatch: pytest.MonkeyPatch):
    async def unplugged(*_: object, **__: object) -> None:
        shutil.rmtree(config.hub_dir)
        raise DownloadError("m.gguf cannot be written: No such file or directory")

    monkeypatch.setattr(fetcher, "fetch", unplugged)
    downloads = ModelFetcher(config, Library(config), usual, lambda: False)
    with pytest.raises(StoreAway):
        await downloads._transfer(download(), offer(config.hub_dir), lambda: None)
    await downloads.close()


class ShortLogins(BaseHTTPRequestHandler):
    """A registry whose tokens are good for one request for bytes; the first answer breaks off in the middle."""

    protocol_version = "HTTP/1.1"
    model: ClassVar[bytes]
    tokens: ClassVar[list[str]]

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self.tokens.append(f"t{len(self.tokens)}")
            self._answer(200, json.dumps({"token": self.tokens[-1]}).encode())
        elif not self.tokens or self.headers.get("Authorization") != f"Bearer {self.tokens[-1]}":
            self._answer(401, b"", {"WWW-Authenticate": f'Bearer realm="http://{self.headers["Host"]}/token"'})
        elif "/manifests/" in self.path:
            layer = {"mediaType": f"{LAYER_TYPE}model", "digest": digest_of(self.model), "size": len(self.model)}
            self._answer(200, json.dumps({"schemaVersion": 2, "layers": [layer]}).encode())
        else:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.model)}")
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            is_first = "expired" not in self.tokens
            self.wfile.write(self.model[first : last // 2 if is_first else last + 1])
            self.tokens.append("expired")
            self.close_connection = True

    def _answer(self, status: int, content: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize("renewable", [True, False])
async def test_a_login_that_expires_in_the_middle_is_renewed(tmp_path: Path, renewable: bool):
    config = Config(home=str(tmp_path / "home"))
    library = Library(config)
    config.models_dir.mkdir(parents=True)

    class Registry(ShortLogins):
        model: ClassVar[bytes] = write_tiny_gguf(tmp_path / "tiny.gguf").read_bytes()
        tokens: ClassVar[list[str]] = []

        def do_GET(self) -> None:
            if not renewable and "/blobs/" in self.path:
                self._answer(401, b"")
            else:
                super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fetcher = ModelFetcher(config, library, usual, lambda: False)
    task = Download(id="1", ref=ModelRef.parse(f"127.0.0.1:{server.server_address[1]}/team/tiny:v1"), keep=True)
    try:
        if renewable:
            await fetcher.fetch(task, lambda: None)
            (path,) = (manifest.weights for manifest in library.manifests if manifest.source)
            assert path.read_bytes() == Registry.model
            assert Registry.tokens.count("expired") == 2
        else:
            with pytest.raises(LoginRefused, match="HTTP 401"):
                await fetcher.fetch(task, lambda: None)
    finally:
        await fetcher.close()
        server.shutdown()
        server.server_close()
