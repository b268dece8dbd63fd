"""Every error that oprel raises on purpose.

    OprelError
    ├── ConfigError                the configuration cannot be used
    ├── ValidationError            the request is malformed
    │   ├── ContextLengthError     the prompt is longer than the context
    │   ├── RequestTooLargeError   the request has more bytes or items than any conversation needs
    │   ├── ImageTooLargeError     an image has more bytes or pixels than an engine could take
    │   └── InvalidModelError      the model file is damaged or of an unknown format (also a ValueError)
    │       └── ModelAwayError     the model's files are on a disk that is away
    ├── ModelNotFoundError         no model of that name
    ├── UnauthorizedError          the caller needs a key
    │   └── ForbiddenError         the caller's key does not allow it
    ├── RateLimitError             the caller's key has used its limit, or the address presented too many wrong keys
    ├── UnsupportedError           the model or engine cannot do what was asked
    ├── ConnectError               no daemon answers at the address
    │   └── DaemonStartError       the daemon did not start
    ├── BackendError               the engine failed
    │   ├── NoEngineError          no suitable engine is installed
    │   ├── BackendStartError      the engine did not become ready
    │   ├── BackendCrashedError    the engine died during an answer
    │   ├── EngineBrokenError      the engine failed too often to be restarted now
    │   └── InsufficientMemoryError  the model needs more memory than available (`oprel.MemoryError`)
    ├── DownloadError              a download failed; the partial file is kept
    │   └── DiskFullError          the disk has not enough space for it, or for anything else that is stored
    ├── QuarantinedError           the request has killed its engine twice
    ├── BusyError                  too many requests are waiting for the model
    ├── ReinstalledError           the daemon's own files were replaced while it ran
    └── ShuttingDownError          the daemon is stopping

Each class has `code` (its name on the wire), `http_status` and `exit_code`. Each instance has a message that says what
happened and `resolution_steps` that say what to do next. Both may quote a stranger's text, so they are made
harmless, and abridged.
"""

import errno
import os
from typing import ClassVar, Literal

from oprel.utils.text import abridged, harmless

# Of a write. The last one: the file would be larger than its file system, or a limit of this process, allows.
NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))

LONGEST = 8000  # characters of a message or a step: each may quote a name of megabytes


def _quotable(text: str) -> str:
    return harmless(abridged(text, LONGEST))


class OprelError(Exception):
    """Base of all deliberate errors. `resolution_steps` are full sentences of advice, best first.

    They are also notes of the exception, which a traceback shows under its message.

    `error` and `status_code` are Ollama's names for the message and the HTTP status of the answer.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retry_after: float = 1.0  # s; sent to clients if `http_status` is 429 or 503

    def __init__(self, message: str, *resolution_steps: str) -> None:
        self.message = _quotable(message)
        super().__init__(self.message)
        self.resolution_steps = tuple(map(_quotable, resolution_steps))
        self.status_code = self.http_status
        for step in filter(None, self.resolution_steps):
            self.add_note(step)

    @property
    def error(self) -> str:
        return self.message


class ConfigError(OprelError):
    code = "config_error"
    exit_code = 2


class ValidationError(OprelError):
    code = "invalid_request"
    http_status = 400
    exit_code = 2


class ContextLengthError(ValidationError):
    """The prompt has more tokens than the context, and truncation is off or impossible."""

    code = "context_length_exceeded"


class RequestTooLargeError(ValidationError):
    code = "request_too_large"
    http_status = 413


class ImageTooLargeError(ValidationError):
    code = "image_too_large"
    http_status = 413


class InvalidModelError(ValidationError, ValueError):
    code = "invalid_model"
    exit_code = 4


class ModelAwayError(InvalidModelError):
    """The model is known, and its files cannot be seen now. `folder` is the one that is missing or empty.

    `is_elsewhere`: it is a model of another program.
    """

    code = "model_away"
    folder = ""
    is_elsewhere = False


class ModelNotFoundError(OprelError):
    code = "model_not_found"
    http_status = 404
    exit_code = 3


class UnauthorizedError(OprelError):
    code = "unauthorized"
    http_status = 401


class ForbiddenError(UnauthorizedError):
    code = "forbidden"
    http_status = 403


class RateLimitError(OprelError):
    """`retry_after` is the number of seconds until the next request is allowed."""

    code = "rate_limit_exceeded"
    http_status = 429
    exit_code = 7


class UnsupportedError(OprelError):
    code = "unsupported"
    http_status = 400
    exit_code = 2


class ConnectError(OprelError, ConnectionError):
    code = "connect_error"
    http_status = 502
    exit_code = 5


class DaemonStartError(ConnectError):
    code = "daemon_start_failed"
    exit_code = 5


class BackendError(OprelError):
    code = "backend_error"
    exit_code = 6


class NoEngineError(BackendError):
    code = "no_engine"


class BackendStartError(BackendError):
    code = "backend_start_failed"


class BackendCrashedError(BackendError):
    code = "backend_crashed"


class EngineBrokenError(BackendError):
    """`retry_after` is the number of seconds until the next start is allowed."""

    code = "engine_broken"
    http_status = 503


class InsufficientMemoryError(BackendError):
    code = "insufficient_memory"


DownloadFault = Literal["network", "authentication", "not_found", "disk", "checksum", "security"]


class DownloadError(OprelError):
    """`fault` is what kind of thing went wrong."""

    code = "download_failed"
    http_status = 502
    exit_code = 8

    def __init__(self, message: str, *resolution_steps: str, fault: DownloadFault = "network") -> None:
        super().__init__(message, *resolution_steps)
        self.fault: DownloadFault = fault


class DiskFullError(DownloadError):
    """There is no space for a download, an upload, a model or anything else that a request stores."""

    code = "disk_full"
    http_status = 507

    def __init__(self, message: str, *resolution_steps: str) -> None:
        super().__init__(message, *resolution_steps, fault="disk")


class QuarantinedError(OprelError):
    """The same request killed its engine twice. It is refused until it is cleared or some time has passed."""

    code = "quarantined"
    http_status = 422
    exit_code = 2


class BusyError(OprelError):
    code = "server_busy"
    http_status = 503
    exit_code = 7


class ReinstalledError(OprelError):
    code = "reinstalled"


class ShuttingDownError(OprelError):
    code = "shutting_down"
    http_status = 503
    exit_code = 7


def not_stored(what: str, error: OSError, folder: "os.PathLike[str] | str") -> OprelError:
    """The error for `what`, such as "the file cannot be stored", after a failed write: DiskFullError without space."""
    message = f"{what}: {error.strerror or error}"
    if error.errno in NO_SPACE:
        step = f"Free some space for {folder} and try again: `oprel cache prune` deletes files that no model uses."
        return DiskFullError(message, step)
    return OprelError(message, f"Check the permissions of {folder}.")


def error_classes() -> dict[str, type[OprelError]]:
    """Wire code -> class, for every class of the tree; the client rebuilds errors with it.

    A subclass without its own code is sent as its base class.
    """
    classes, pending = dict[str, type[OprelError]](), [OprelError]
    while pending:
        cls = pending.pop()
        if "code" in vars(cls):
            classes[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return classes
