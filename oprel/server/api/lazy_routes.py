"""Routes whose modules are imported when one of them is first requested: a daemon starts with what it needs."""

from collections.abc import Sequence
from importlib import import_module

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Match
from starlette.types import Scope


class LazyRoutes(BaseRoute):
    """Stands for routers of `app`, each named by its module and its variable there, until a path needs them.

    All their paths start with one of the `prefixes`.
    """

    def __init__(self, app: FastAPI, prefixes: tuple[str, ...], routers: Sequence[str]) -> None:
        self._app, self._prefixes, self._routers = app, prefixes, routers
        self._is_loaded = False

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Matches nothing itself: the application goes on to the routes that this adds at its end."""
        if scope["type"] == "http" and scope["path"].startswith(self._prefixes):
            self.load()
        return Match.NONE, {}

    def load(self) -> None:
        if self._is_loaded:
            return
        routers = [imported_router(name) for name in self._routers]
        self._is_loaded = True
        for router in routers:
            add_routes(self._app, router)

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
