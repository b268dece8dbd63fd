"""A network with a login page answers in the place of servers: that says nothing about the models there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from oprel.core.names import HubOrigin, RegistryOrigin
from oprel.downloader.backoff import Unreachable
from oprel.downloader.cache import HubCache
from oprel.downloader.hub import Hub
from oprel.downloader.registry.pull import manifest

PAGES = {"a page": b"<html>Log in</html>", "JSON": b'"log in"', "a list": b"[1]", "nothing": b""}


@pytest.fixture(params=[*PAGES.values()], ids=[*PAGES])
def portal(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that answers everything in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(request.param)))
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_in_place_of_the_hub_it_is_waited_for(portal: str, tmp_path: Path) -> None:
    hub = Hub(portal, HubCache(tmp_path), seconds=5.0)
    with pytest.raises(Unreachable, match="no hub gives"):
        await hub.offer(HubOrigin("org/model"))
    with pytest.raises(Unreachable, match="no hub gives"):
        await hub.search("x", 1)


async def test_in_place_of_a_registry_too(portal: str) -> None:
    origin = RegistryOrigin(host=portal.removeprefix("http://"), namespace="org", model="model")
    async with httpx.AsyncClient() as client:
        with pytest.raises(Unreachable, match="web page instead of a manifest"):
            await manifest(origin, client)
