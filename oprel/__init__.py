"""oprel: a local daemon for language models, with thin clients.

>>> import oprel
>>> reply = oprel.chat("./tiny.gguf", [{"role": "user", "content": "hello"}])  # doctest: +SKIP
>>> print(reply.message.content)  # doctest: +SKIP

A program written for Ollama's client runs with `import oprel as ollama`. Names are loaded on first use, which keeps
`import oprel` fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from oprel.api_models import EmbeddingsResponse, EmbedResponse, GenerateResponse, LoadResponse, ProgressResponse
    from oprel.client.types import (
        ChatResponse,
        Image,
        ListResponse,
        Message,
        Options,
        ProcessResponse,
        RequestError,
        ResponseError,
        ShowResponse,
        StatusResponse,
        Tool,
    )
    from oprel.client_api import (
        Client,
        chat,
        copy,
        create,
        create_blob,
        delete,
        embed,
        embeddings,
        generate,
        list,
        load,
        ps,
        pull,
        push,
        search,
        show,
        unload,
    )
    from oprel.client_async import AsyncClient
    from oprel.core.exceptions import (
        BackendCrashedError,
        BackendError,
        BackendStartError,
        BusyError,
        ConfigError,
        ConnectError,
        ContextLengthError,
        DaemonStartError,
        DiskFullError,
        DownloadError,
        EngineBrokenError,
        ForbiddenError,
        ImageTooLargeError,
        InsufficientMemoryError,
        InvalidModelError,
        ModelAwayError,
        ModelNotFoundError,
        NoEngineError,
        OprelError,
        QuarantinedError,
        RateLimitError,
        ReinstalledError,
        RequestTooLargeError,
        ShuttingDownError,
        UnauthorizedError,
        UnsupportedError,
        ValidationError,
    )
    from oprel.core.exceptions import InsufficientMemoryError as MemoryError
    from oprel.model import Model
    from oprel.preview.inspect_files import inspect
    from oprel.preview.plan import recommend
    from oprel.utils.logging import setup_logging

_NAMES_IN = {
    "oprel.api_models": "EmbedResponse EmbeddingsResponse GenerateResponse LoadResponse ProgressResponse",
    "oprel.client.types": "ChatResponse Image ListResponse Message Options ProcessResponse RequestError "
    "ResponseError ShowResponse StatusResponse Tool",
    "oprel.client_api": "Client chat copy create create_blob delete embed embeddings generate list load ps pull push "
    "search show unload",
    "oprel.client_async": "AsyncClient",
    "oprel.core.exceptions": "BackendCrashedError BackendError BackendStartError BusyError ConfigError "
    "ConnectError ContextLengthError DaemonStartError DiskFullError DownloadError EngineBrokenError ForbiddenError "
    "ImageTooLargeError InsufficientMemoryError InvalidModelError ModelAwayError ModelNotFoundError NoEngineError "
    "OprelError QuarantinedError RateLimitError ReinstalledError RequestTooLargeError ShuttingDownError "
    "UnauthorizedError UnsupportedError ValidationError",
    "oprel.model": "Model",
    "oprel.preview.inspect_files": "inspect",
    "oprel.preview.plan": "recommend",
    "oprel.utils.logging": "setup_logging",
}
_MODULE_OF = {name: module for module, names in _NAMES_IN.items() for name in names.split()}
_RENAMED = {"MemoryError": "InsufficientMemoryError"}

__all__ = [
    "AsyncClient",
    "BackendCrashedError",
    "BackendError",
    "BackendStartError",
    "BusyError",
    "ChatResponse",
    "Client",
    "ConfigError",
    "ConnectError",
    "ContextLengthError",
    "DaemonStartError",
    "DiskFullError",
    "DownloadError",
    "EmbedResponse",
    "EmbeddingsResponse",
    "EngineBrokenError",
    "ForbiddenError",
    "GenerateResponse",
    "Image",
    "ImageTooLargeError",
    "InsufficientMemoryError",
    "InvalidModelError",
    "ListResponse",
    "LoadResponse",
    "MemoryError",
    "Message",
    "Model",
    "ModelAwayError",
    "ModelNotFoundError",
    "NoEngineError",
    "OprelError",
    "Options",
    "ProcessResponse",
    "ProgressResponse",
    "QuarantinedError",
    "RateLimitError",
    "ReinstalledError",
    "RequestError",
    "RequestTooLargeError",
    "ResponseError",
    "ShowResponse",
    "ShuttingDownError",
    "StatusResponse",
    "Tool",
    "UnauthorizedError",
    "UnsupportedError",
    "ValidationError",
    "__version__",
    "chat",
    "copy",
    "create",
    "create_blob",
    "delete",
    "embed",
    "embeddings",
    "generate",
    "inspect",
    "list",
    "load",
    "ps",
    "pull",
    "push",
    "recommend",
    "search",
    "setup_logging",
    "show",
    "unload",
]


def __getattr__(name: str) -> object:
    name = _RENAMED.get(name, name)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'oprel' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> object:
    return __all__
