"""All backends by name: oprel's own, and those of installed packages."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from oprel.core.exceptions import ValidationError
from oprel.runtime.backends.backend import Backend
from oprel.utils.entry_points import load_plugins

GROUP = "oprel.backends"
# In order of preference among equally good ones.
OWN = ("llama_cpp", "vllm", "exllama", "mlx", "mlc", "tgi", "transformers")


@cache
def backends() -> Mapping[str, Backend]:
    """All backends by name. A package cannot replace a backend of oprel."""
    own: list[Backend] = [import_module(f"oprel.runtime.backends.engines.{name}").BACKEND for name in OWN]
    by_name = {backend.name: backend for backend in own}
    for backend in load_plugins(GROUP, Backend):
        by_name.setdefault(backend.name, backend)
    return by_name


def named(name: str) -> Backend:
    """The backend of that name. Raises ValidationError if there is none."""
    by_name = backends()
    if name not in by_name:
        raise ValidationError(f"there is no engine {name!r}", f"The engines are {', '.join(by_name)}.")
    return by_name[name]
