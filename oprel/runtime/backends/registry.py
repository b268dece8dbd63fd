"""Every backend there is, by name: those of oprel, and those that installed packages announce."""

import logging
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from oprel.core.exceptions import ValidationError
from oprel.runtime.backends.backend import Backend

logger = logging.getLogger(__name__)

GROUP = "oprel.backends"
# In order of preference where several do equally well.
OWN = ("llama_cpp", "vllm", "exllama", "mlx", "mlc", "tgi", "transformers")


@cache
def backends() -> Mapping[str, Backend]:
    """By name. What a package announces does not replace a backend of oprel's; one that cannot be loaded is told of."""
    own: list[Backend] = [import_module(f"oprel.runtime.backends.{name}").BACKEND for name in OWN]
    found = {backend.name: backend for backend in own}
    for entry in entry_points(group=GROUP):
        if backend := _announced(entry):
            found.setdefault(backend.name, backend)
    return found


def named(name: str) -> Backend:
    """Raises ValidationError where there is none."""
    known = backends()
    if name not in known:
        raise ValidationError(f"there is no engine {name!r}", f"There are {', '.join(known)}.")
    return known[name]


def _announced(entry: EntryPoint) -> Backend | None:
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        logger.warning("the backend %s cannot be loaded: %s", entry.value, error)
        return None
    if not isinstance(found, Backend):
        logger.warning("%s is no backend", entry.value)
        return None
    return found
