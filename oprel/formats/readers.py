"""Readers of further formats, provided by installed packages; tried when oprel itself recognizes no model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from oprel.core.exceptions import OprelError
from oprel.formats.model_info import ModelInfo
from oprel.formats.untrusted_json import invalid
from oprel.utils.entry_points import load_plugins

GROUP = "oprel.formats"


@dataclass(frozen=True)
class Reader:
    """Reads models of a format that oprel does not support itself. `format` is the name that backends use for it.

    `read` describes the model in a file or folder from its header alone, or returns None for another format. It raises
    InvalidModelError for a damaged model, and OSError. The file is untrusted: a reader must not execute any of it.
    """

    format: str
    read: Callable[[Path], ModelInfo | None]


@cache
def readers() -> Sequence[Reader]:
    return tuple(load_plugins(GROUP, Reader))


def read_with_plugins(path: Path) -> ModelInfo | None:
    """The model in a file or folder, from the first reader that recognizes it. Raises InvalidModelError, OSError."""
    if not (path.is_file() or path.is_dir()):  # reading a pipe would block
        return None
    infos = (_read(reader, path) for reader in readers())
    return next((info for info in infos if info), None)


def knows(path: Path) -> bool:
    """Whether a reader recognizes a model there, even a damaged one."""
    try:
        return read_with_plugins(path) is not None
    except OprelError:
        return True
    except OSError:
        return False


def _read(reader: Reader, path: Path) -> ModelInfo | None:
    try:
        return reader.read(path)
    except (OprelError, OSError):
        raise
    except Exception as error:  # third-party code on untrusted files: its bugs must not hide other models
        raise invalid(path, f"the reader of {reader.format} failed: {type(error).__name__}: {error}", 0) from error
