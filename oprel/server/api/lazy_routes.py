"""Routes whose modules are imported when one of them is first requested: a daemon starts with what it needs."""

import asyncio
from collections.abc import Sequence
from importlib import import_module

import anyio.to_thread
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class LazyRoutes(BaseRoute):
    """Stands for routers of `app`, each named by its module and its variable there, until a path needs them.

    All their paths start with one of the `prefixes`.
    """

    def __init__(self, app: FastAPI, prefixes: tuple[str, ...], routers: Sequence[str]) -> None:
        self._app, self._prefixes, self._routers = app, prefixes, routers
        self._is_loaded = False
        self._loading = asyncio.Lock()

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Every request for the paths, until the application has their routes at its end."""
        is_first = not self._is_loaded and scope["type"] == "http" and scope["path"].startswith(self._prefixes)
        return (Match.FULL if is_first else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the routes added, and the request served by them."""
        async with self._loading:
            if not self._is_loaded:
                await anyio.to_thread.run_sync(self.load)  # others would wait for it: it takes up to half a second
        await self._app.router(scope, receive, send)

    def load(self) -> None:
        """Add the routes. Blocks to import them."""
        if self._is_loaded:
            return
        for router in [imported_router(name) for name in self._routers]:
            add_routes(self._app, router)
        self._is_loaded = True

    def all_routes(self) -> list[BaseRoute]:
        """The routes that this stands for, without adding them to the application's."""
        return [route for name in self._routers for route in imported_router(name).routes]


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of a router to those of the application. An included router would be searched twice a request."""
    app.router.routes.extend(router.routes)


def imported_router(name: str) -> APIRouter:
    module, _, variable = name.partition(":")
    router = getattr(import_module(f"oprel.server.api.{module}"), variable)
    assert isinstance(router, APIRouter)
    return router
