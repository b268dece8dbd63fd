"""Routes whose modules are imported when they are first requested."""

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from oprel.server.api.lazy_routes import LazyRoutes
from oprel.server.app import LAZY_ROUTERS


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    app.router.routes.extend(LazyRoutes(app, prefixes, routers) for prefixes, routers in LAZY_ROUTERS.items())
    return app


async def status(app: FastAPI, method: str, path: str) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return (await client.request(method, path)).status_code


async def test_the_first_request_adds_the_routes_and_is_served_by_them(app: FastAPI) -> None:
    before = len(app.routes)
    assert await status(app, "GET", "/v1/chat/completions") == 405  # it has the path, for POST
    added = len(app.routes)
    assert await status(app, "GET", "/v1/chat/completions") == 405
    assert len(app.routes) == added > before


async def test_another_path_adds_none(app: FastAPI) -> None:
    before = len(app.routes)
    assert await status(app, "GET", "/v2/nothing") == 404
    assert len(app.routes) == before


@pytest.mark.parametrize(("prefixes", "routers"), LAZY_ROUTERS.items())
def test_all_paths_of_lazy_routers_start_with_their_prefixes(
    prefixes: tuple[str, ...], routers: tuple[str, ...]
) -> None:
    app = FastAPI(openapi_url=None)
    LazyRoutes(app, prefixes, routers).load()
    paths = [route.path for route in app.routes if isinstance(route, APIRoute)]
    assert paths
    assert [path for path in paths if not path.startswith(prefixes)] == []
