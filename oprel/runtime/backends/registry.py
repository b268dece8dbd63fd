"""Every backend there is, by name: those of oprel, and those that installed packages announce."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from oprel.core.exceptions import ValidationError
from oprel.runtime.backends.backend import Backend
from oprel.utils.entry_points import load_plugins

GROUP = "oprel.backends"
# In order of preference where several do equally well.
OWN = ("llama_cpp", "vllm", "exllama", "mlx", "mlc", "tgi", "transformers")


@cache
def backends() -> Mapping[str, Backend]:
    """By name. What a package announces does not replace a backend of oprel's."""
    own: list[Backend] = [import_module(f"oprel.runtime.backends.engines.{name}").BACKEND for name in OWN]
    found = {backend.name: backend for backend in own}
    for backend in load_plugins(GROUP, Backend):
        found.setdefault(backend.name, backend)
    return found


def named(name: str) -> Backend:
    """Raises ValidationError where there is none."""
    known = backends()
    if name not in known:
        raise ValidationError(f"there is no engine {name!r}", f"There are {', '.join(known)}.")
    return known[name]
