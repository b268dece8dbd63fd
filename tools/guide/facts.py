"""What oprel has, read from its own code: commands and flags from the parser, settings from their table, routes from
the daemon's routers."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from oprel.cli.main import ALIASES
from oprel.core.config import Config


@dataclass(frozen=True, order=True)
class Flag:
    """A long flag of a command. Those of `oprel serve` that are settings do not count here."""

    command: str
    name: str


def commands(parser: argparse.ArgumentParser) -> list[str]:
    """Every command with its actions but the default one: "ps", "cache", "cache prune"."""
    found = []
    for name, one in _subparsers(parser):
        found.append(name)
        for action in one._actions:
            if action.dest in ("action", "what") and action.choices:
                found += [f"{name} {choice}" for choice in action.choices if choice != action.default]
        found += [f"{name} {inner}" for inner, _ in _subparsers(one)]
    return found


def flags(parser: argparse.ArgumentParser) -> list[Flag]:
    ours = {f"--{name.replace('_', '-')}" for name in settings()}
    return [
        Flag(name, option)
        for name, one in _subparsers(parser)
        for action in _actions(one)
        for option in action.option_strings
        if option.startswith("--") and option != "--help" and not (name == "serve" and option in ours)
    ]


def settings() -> list[str]:
    return list(Config.entries)


def routes() -> list[str]:
    """The paths that the daemon answers."""
    from oprel.server.api.lazy_routes import imported_router
    from oprel.server.app import LAZY_ROUTERS

    routers = ("ollama.routes:router", *(name for names in LAZY_ROUTERS.values() for name in names))
    return sorted({getattr(route, "path", "") for name in routers for route in imported_router(name).routes})


def _subparsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from ((name, one) for name, one in action.choices.items() if name not in ALIASES)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those of the parser and of its subcommands."""
    yield from parser._actions
    for _, one in _subparsers(parser):
        yield from _actions(one)
