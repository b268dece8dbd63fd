"""The contract as it is on the wire: the shape of each answer is that of its snapshot.

After a change that is meant: `OPREL_UPDATE_SNAPSHOTS=1 .venv/bin/pytest tests/wire`, and read the difference.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Match

from oprel.core.config import Config
from oprel.runtime.binaries.engine_binaries import EngineBinaries
from oprel.server.api.lazy_routes import LazyRoutes
from oprel.server.app import assemble, create_app
from tests.conftest import DEADLINE, RunningDaemon, lasting_daemon
from tests.fixtures.gguf_parts import write_reranker
from tests.wire import shape
from tests.wire.described import Description
from tests.wire.exchanges import EXCHANGES, RERANKER, Exchange, Request

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = "OPREL_UPDATE_SNAPSHOTS" in os.environ


@pytest.fixture(scope="module")
def daemon(tiny: Path) -> Iterator[RunningDaemon]:
    """One of its own: what other tests have loaded would show."""
    with lasting_daemon(tiny) as daemon:
        yield daemon


@pytest.fixture
def http(daemon: RunningDaemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, timeout=DEADLINE, trust_env=False) as http:
        yield http


@pytest.fixture(scope="session")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reranker(tmp_path_factory.mktemp("models") / "reranker.gguf", "sun")


def send(http: httpx.Client, request: Request, reranker: Path) -> httpx.Response:
    if request.body is None or isinstance(request.body, bytes):
        return http.request(request.method, request.path, content=request.body, headers=request.headers)
    named = {"model": str(reranker)} if request.body.get("model") == RERANKER else {}
    return http.request(request.method, request.path, json=request.body | named)


@pytest.fixture(scope="module")
def description(daemon: RunningDaemon) -> Description:
    return Description(httpx.get(f"{daemon.url}/openapi.json", timeout=DEADLINE, trust_env=False).json())


def recorded(http: httpx.Client, exchange: Exchange, reranker: Path, description: Description) -> dict[str, object]:
    """Also checks that the answer is as the API's description has it."""
    for request in (*exchange.before, *([exchange.request] if exchange.warm else [])):
        send(http, request, reranker)
    response = send(http, exchange.request, reranker)
    if exchange.is_described:
        assert description.complaints(response.request, response) == []
    for request in exchange.after:
        send(http, request, reranker)
    body = repr(exchange.request.body) if isinstance(exchange.request.body, bytes) else exchange.request.body
    headers = {"headers": dict(exchange.request.headers)} if exchange.request.headers else {}
    return {
        "request": {"line": f"{exchange.request.method} {exchange.request.path}", **headers, "body": body},
        "response": shape.of_response(response),
    }


def file_of(name: str) -> Path:
    return SNAPSHOTS / f"{name.replace(' ', '-')}.json"


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_answer_has_the_shape_of_its_snapshot(
    http: httpx.Client, reranker: Path, description: Description, name: str
):
    live = recorded(http, EXCHANGES[name], reranker, description)
    if UPDATE:
        file_of(name).write_text(json.dumps(live, indent=2) + "\n")
    assert live == json.loads(file_of(name).read_text())


def test_every_snapshot_is_of_an_exchange():
    assert {file.name for file in SNAPSHOTS.iterdir()} == {file_of(name).name for name in EXCHANGES}


def test_every_route_has_an_exchange(tmp_path: Path):
    scopes = [
        {
            "type": "http",
            "method": exchange.request.method,
            "path": exchange.request.path.partition("?")[0],
            "headers": [(name.encode(), text.encode()) for name, text in exchange.request.headers.items()],
        }
        for exchange in EXCHANGES.values()
    ]
    app = create_app(assemble(Config(home=str(tmp_path)), EngineBinaries([]), tmp_path))
    for lazy in [route for route in app.routes if isinstance(route, LazyRoutes)]:
        lazy.load()
    routes = [route for route in app.routes if not isinstance(route, LazyRoutes)]
    assert [route for route in routes if not any(route.matches(scope)[0] is Match.FULL for scope in scopes)] == []
