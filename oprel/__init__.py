"""oprel: a local daemon for language models, with thin clients.

>>> import oprel
>>> reply = oprel.chat("./tiny.gguf", [{"role": "user", "content": "hello"}])  # doctest: +SKIP
>>> print(reply.message.content)  # doctest: +SKIP

Names are loaded on first use, so that `import oprel` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from oprel.client_api import AsyncClient, Client, chat, embed, embeddings, generate, list, load, ps, show, unload
    from oprel.core.exceptions import (
        BackendCrashedError,
        BackendError,
        BackendStartError,
        ConfigError,
        ConnectError,
        DaemonStartError,
        InvalidModelError,
        ModelNotFoundError,
        NoEngineError,
        OprelError,
        ShuttingDownError,
        UnsupportedError,
        ValidationError,
    )
    from oprel.core.model import Model

_HOME = {
    "oprel.client_api": "AsyncClient Client chat embed embeddings generate list load ps show unload",
    "oprel.core.exceptions": "BackendCrashedError BackendError BackendStartError ConfigError ConnectError "
    "DaemonStartError InvalidModelError ModelNotFoundError NoEngineError OprelError ShuttingDownError "
    "UnsupportedError ValidationError",
    "oprel.core.model": "Model",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = [
    "AsyncClient",
    "BackendCrashedError",
    "BackendError",
    "BackendStartError",
    "Client",
    "ConfigError",
    "ConnectError",
    "DaemonStartError",
    "InvalidModelError",
    "Model",
    "ModelNotFoundError",
    "NoEngineError",
    "OprelError",
    "ShuttingDownError",
    "UnsupportedError",
    "ValidationError",
    "__version__",
    "chat",
    "embed",
    "embeddings",
    "generate",
    "list",
    "load",
    "ps",
    "show",
    "unload",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'oprel' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> object:
    return __all__
