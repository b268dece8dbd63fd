"""What installed packages add to oprel: objects that their entry points announce (docs/extending.md)."""

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

logger = logging.getLogger(__name__)

Thing = TypeVar("Thing")


def announced(group: str, kind: type[Thing]) -> Iterator[Thing]:
    """Every `kind` that is announced in `group`. What cannot be loaded is left out, and a warning names its package."""
    from importlib.metadata import entry_points  # slow to import, and most clients have no need of it

    for entry in entry_points(group=group):
        try:
            found = entry.load()
        except Exception as error:  # a module of others was run, which may raise anything: oprel does without it
            _left_out(entry, f"{type(error).__name__}: {error}")
            continue
        if isinstance(found, kind):
            yield found
        else:
            _left_out(entry, f"it is no {kind.__name__}")


def _left_out(entry: "EntryPoint", why: str) -> None:
    package = entry.dist.name if entry.dist else entry.module
    logger.warning("%s of the package %s, for %s, is left out: %s", entry.value, package, entry.group, why)
