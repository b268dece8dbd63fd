"""Where downloads for others than this machine's own user may connect, and what answers they take."""

import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
import zstandard

from oprel.core.config import Config
from oprel.core.exceptions import DownloadError
from oprel.downloader.network.clients import open_client
from oprel.downloader.network.public_only import PublicOnly, exempt_hosts, is_public


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::808:808"])
def test_public_addresses_are_known(address: str):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"]
    + ["::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1"],
)
def test_addresses_of_this_machine_and_its_networks_are_known(address: str):
    assert not is_public(ipaddress.ip_address(address))


def test_what_the_user_configured_is_exempt():
    config = Config(hf_endpoint="http://hub.lan:8080", insecure_registries="Store.lan, 10.0.0.7:5000")
    assert exempt_hosts(config) == {
        ("hub.lan", 8080),
        ("registry.ollama.ai", 443),
        ("store.lan", 0),
        ("10.0.0.7", 5000),
    }


class Answers(BaseHTTPRequestHandler):
    """Redirects to what the path names, with a body without end; or a packed answer."""

    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            with_pieces(self)
        body = zstandard.compress(b"0" * 10_000_000) if self.path == "/packed" else b"plain"
        self.send_response(200)
        if self.path == "/packed":
            self.send_header("Content-Encoding", "zstd")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


def with_pieces(handler: BaseHTTPRequestHandler) -> None:
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        handler.close_connection = True


@contextmanager
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    httpd.daemon_threads = True
    Thread(target=httpd.serve_forever, daemon=True).start()
    Answers.seen.clear()
    try:
        yield f"127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()


@asynccontextmanager
async def client(*exempt: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    async with open_client(PublicOnly(frozenset(exempt))) as http:
        yield http


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0"])
async def test_a_stranger_reaches_nothing_of_this_machine(host: str):
    with server() as address:
        port = address.rpartition(":")[2]
        async with client() as http:
            with pytest.raises((DownloadError, httpx.ConnectError)) as caught:
                await http.get(f"http://{host}:{port}/x")
    assert not Answers.seen
    assert isinstance(caught.value, DownloadError) or host == "0x7f.1"


async def test_open_and_closed_ports_look_alike():
    with server() as address, socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        messages = set[str]()
        async with client() as http:
            for host in (address, closed):
                with pytest.raises(DownloadError) as caught:
                    await http.get(f"http://{host}/x")
                messages.add(caught.value.message)
    assert len(messages) == 1


async def test_a_redirect_is_no_way_around():
    with server() as address:
        host, _, port = address.partition(":")
        async with client((host, int(port))) as http:
            assert (await http.get(f"http://{address}/x")).text == "plain"
            with pytest.raises(DownloadError, match="no public address"):
                await http.get(f"http://{address}/to/http://localhost:{port}/x", follow_redirects=True)
    assert len(Answers.seen) == 2


async def test_a_proxy_is_asked_for_public_addresses_only(monkeypatch: pytest.MonkeyPatch):
    with server() as address:
        monkeypatch.setenv("http_proxy", f"http://{address}")
        async with client() as http:
            assert (await http.get("http://no-such-host.invalid/x")).text == "plain"
            with pytest.raises(DownloadError, match="no public address"):
                await http.get("http://10.0.0.1/x")
    assert Answers.seen == ["http://no-such-host.invalid/x"]


async def test_the_body_of_a_redirect_is_not_read():
    with server() as address:
        async with open_client() as http:
            assert (await http.get(f"http://{address}/to//x", follow_redirects=True)).text == "plain"


async def test_a_packed_answer_is_refused():
    with server() as address:
        async with open_client() as http:
            with pytest.raises(DownloadError, match=r"packed answer \(zstd\)"):
                await http.get(f"http://{address}/packed")
