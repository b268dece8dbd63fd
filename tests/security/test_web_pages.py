"""T5 and T6: whatever a web page sends, under whatever name, ends before any route is looked for."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from oprel.core.config import Config
from oprel.core.home import prepare_home
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.api.lazy_routes import LazyRoutes
from oprel.server.app import assemble, create_app
from tests.conftest import RunningDaemon, temporary_home

HOSTS = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "evil@localhost",
    "localhost/api?",
    "[::1",
    "a b",
)
ORIGINS = ("https://evil.example", "null", "http://localhost.evil.example", "https://localhost@evil.example")
KINDS = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")


@pytest.fixture(scope="module")
def app() -> FastAPI:
    with temporary_home() as home:
        config = Config(home=str(home))
        prepare_home(config)
        app = create_app(assemble(config, EngineBinaries([], probes=False), home))
        for routes in [route for route in app.router.routes if isinstance(route, LazyRoutes)]:
            routes.load()
        return app


@pytest.fixture(scope="module")
def requests(app: FastAPI) -> list[tuple[str, str]]:
    """The method and the path of each route."""
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    return sorted(
        {(method, route.path.replace("{", "").replace("}", "")) for route in routes for method in route.methods or ()}
    )


def page(app: FastAPI) -> httpx.AsyncClient:
    """A client on this machine, as a browser is."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:11435")


async def test_every_route_refuses_foreign_hosts_and_origins(app: FastAPI, requests: list[tuple[str, str]]) -> None:
    assert len(requests) > 60
    foreign = [{"host": host} for host in HOSTS]
    foreign += [{"origin": origin, "content-type": kind} for origin in ORIGINS for kind in KINDS]
    async with page(app) as http:
        for method, path in requests:
            for headers in foreign:
                answer = await http.request(method, path, headers=headers, content=b'{"model": "guide"}')
                assert (answer.status_code, answer.content) == (403, b""), (method, path, headers)
                assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "//", "/%2e%2e/api/tags", "/api/tags/", "/nonesuch"])
async def test_no_spelling_of_a_path_gets_around_it(app: FastAPI, path: str) -> None:
    headers = {"origin": "https://evil.example", "upgrade": "websocket", "connection": "upgrade"}
    async with page(app) as http:
        request = http.build_request("GET", "/", headers=headers)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert (await http.send(request)).status_code == 403


async def test_a_page_of_this_machine_reads_no_logs_and_names_no_files(app: FastAPI, tmp_path: Path) -> None:
    """Another program of this machine may have served it."""
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF")
    async with page(app) as http:
        http.headers["origin"] = "http://localhost:3000"
        for path in ("/logs?model=guide", "/crashes", "/quarantine", "/settings"):
            assert (await http.get(path)).status_code == 401, path
        present = await http.post("/api/show", json={"model": str(file)})
        absent = await http.post("/api/show", json={"model": str(tmp_path / "x.gguf")})
    assert present.status_code == absent.status_code == 404
    assert present.text.replace("m.gguf", "x.gguf") == absent.text


def test_a_daemon_that_others_reach_without_keys_says_so(start_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = start_daemon(server_host="0.0.0.0", allow_unauthenticated_lan="on")
    assert "0.0.0.0 reaches other machines, which may use models without a key" in daemon.log
