"""Headers over HTTP, from a real server that knows ranges."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from oprel.core.exceptions import InvalidModelError
from oprel.formats.gguf import read_gguf
from oprel.formats.headers.remote import read_remote
from tests.fixtures.known_models import write_known_model

MIB = 1024**2


class Server(ThreadingHTTPServer):
    """Gives ranges of one file, and remembers which were asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ranges: list[tuple[int, int]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def fetch(self, start: int, end: int) -> bytes:
        url = f"http://127.0.0.1:{self.server_port}/"
        return httpx.get(url, headers={"Range": f"bytes={start}-{end - 1}"}, trust_env=False).content


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        start, end = self.headers["Range"].removeprefix("bytes=").split("-")
        self.server.ranges.append((int(start), int(end) + 1))
        with self.server.path.open("rb") as file:
            file.seek(int(start))
            content = file.read(int(end) + 1 - int(start))
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With 128 256 tokens, as large as 8 GB."""
    return write_known_model(tmp_path_factory.mktemp("remote") / "model.gguf", "llama3.1-8b")


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    with Server(model) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_large_vocabulary_takes_three_requests_and_12_mb_at_most(server: Server, model: Path) -> None:
    found, here = read_remote(server.fetch, "model.gguf", model.stat().st_size), read_gguf(model)
    assert (found.metadata, found.tensors, found.size_bytes) == (here.metadata, here.tensors, here.size_bytes)
    assert len(server.ranges) <= 3
    assert sum(end - start for start, end in server.ranges) <= 12 * MIB


def test_a_small_file_takes_one_request_for_what_there_is(tiny: Path) -> None:
    with Server(tiny) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        assert read_remote(server.fetch, "tiny.gguf", tiny.stat().st_size).tensors == read_gguf(tiny).tensors
        server.shutdown()
    assert server.ranges == [(0, tiny.stat().st_size)]


def test_what_is_no_model_is_refused_after_one_request(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(b"<html>" + bytes(64 * MIB))
    with Server(path) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InvalidModelError, match=r"it is a web page \(byte 0\)"):
            read_remote(server.fetch, "page.html", path.stat().st_size)
        server.shutdown()
    assert len(server.ranges) == 1


def test_a_server_that_gives_less_than_it_promised_is_noticed(tiny: Path) -> None:
    content = tiny.read_bytes()
    with pytest.raises(InvalidModelError, match="became shorter"):
        read_remote(lambda start, end: content[start : min(end, 100)], "tiny.gguf", len(content))
