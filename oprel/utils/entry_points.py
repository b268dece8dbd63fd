"""Loads plugins: objects that installed packages declare as entry points (docs/extending.md)."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

Plugin = TypeVar("Plugin")


def load_plugins(group: str, kind: type[Plugin]) -> Iterator[Plugin]:
    """Every `kind` in the entry point group. One that cannot be loaded is skipped, with a warning."""
    from importlib.metadata import entry_points  # slow to import, and most clients do not need it

    for entry in entry_points(group=group):
        try:
            plugin = entry.load()
        except Exception as error:  # foreign code may raise anything; oprel works without it
            _warn_skipped(entry, f"{type(error).__name__}: {error}")
            continue
        if isinstance(plugin, kind):
            yield plugin
        else:
            _warn_skipped(entry, f"it is not a {kind.__name__}")


def _warn_skipped(entry: "EntryPoint", why: str) -> None:
    package = entry.dist.name if entry.dist else entry.module
    logger.warning("skipped %s of the package %s in %s: %s", entry.value, package, entry.group, why)
