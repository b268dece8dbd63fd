"""`GET /openapi.json`: the description of the API, made in a thread when it is first requested."""

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module

import anyio.to_thread
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute

from oprel import __version__
from oprel.api_models import ErrorResponse
from oprel.server.access.caller import AccessLevel
from oprel.server.api.common.errors import dialect_router, nested_error
from oprel.server.api.common.streaming_response import JSON
from oprel.server.api.lazy_routes import LazyRoutes
from oprel.server.api.reference.document import document
from oprel.server.api.reference.operation import DialectReference, Operation, json_answer

DIALECTS = ("ollama", "openai", "responses", "anthropic", "oprel")  # packages whose `operations` have REFERENCES

router = dialect_router(nested_error, access=AccessLevel.ANYONE)


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def openapi(request: Request) -> Response:
    return Response(await anyio.to_thread.run_sync(_content, request.app), media_type=JSON)


OWN = DialectReference(
    name="oprel",
    about="oprel's own API.",
    error=ErrorResponse,
    operations={
        openapi: Operation(summary="This description.", answers=json_answer(dict[str, object])),
    },
)


@lru_cache(maxsize=1)
def _content(app: FastAPI) -> bytes:
    modules = [import_module(f"oprel.server.api.{name}.operations") for name in DIALECTS]
    references = [reference for module in modules for reference in module.REFERENCES]
    return orjson.dumps(document(routes_of(app), [OWN, *references], __version__))


def routes_of(app: FastAPI) -> list[APIRoute]:
    """All routes, also those that no request has needed yet; of several for a request, the one that serves it first."""
    return [*{id(route): route for route in _all_routes(app)}.values()]


def _all_routes(app: FastAPI) -> Iterator[APIRoute]:
    for route in app.routes:
        if isinstance(route, LazyRoutes):
            yield from (each for each in route.all_routes() if isinstance(each, APIRoute))
        elif isinstance(route, APIRoute):
            yield route
