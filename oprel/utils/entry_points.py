"""Plugins: objects that installed packages provide through entry points (docs/extending.md)."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")


def load_entry_points(group: str, kind: type[Thing]) -> Iterator[Thing]:
    """Every object of type `kind` in `group`. One that fails to load is skipped, and a warning names its package."""
    from importlib.metadata import entry_points  # slow to import, and most clients do not need it

    for entry in entry_points(group=group):
        try:
            loaded = entry.load()
        except Exception as error:  # third-party code ran, which may raise anything; oprel works without it
            _left_out(entry, f"{type(error).__name__}: {error}")
            continue
        if isinstance(loaded, kind):
            yield loaded
        else:
            _left_out(entry, f"it is not a {kind.__name__}")


def _left_out(entry: "EntryPoint", why: str) -> None:
    package = entry.dist.name if entry.dist else entry.module
    logger.warning("skipped %s of package %s (%s): %s", entry.value, package, entry.group, why)
