"""Readers of further formats, which installed packages announce; asked where oprel itself knows no model."""

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
    """Of models of a format that oprel does not know, `format` being what backends call it.

    `read` tells of the model in a file or a folder, from its header alone; None where it is of another format. It
    raises InvalidModelError for a damaged one, and OSError. The file may be anybody's, so nothing in it is run.
    """

    format: str
    read: Callable[[Path], ModelInfo | None]


@cache
def readers() -> Sequence[Reader]:
    return tuple(load_plugins(GROUP, Reader))


def read_announced(path: Path) -> ModelInfo | None:
    """The model in a file or a folder, of the first reader that knows it. Raises InvalidModelError, OSError."""
    if not (path.is_file() or path.is_dir()):  # a pipe would block its reader
        return None
    found = (_read(reader, path) for reader in readers())
    return next((info for info in found if info), None)


def knows(path: Path) -> bool:
    """Whether a reader finds a model there, be it damaged."""
    try:
        return read_announced(path) is not None
    except OprelError:
        return True
    except OSError:
        return False


def _read(reader: Reader, path: Path) -> ModelInfo | None:
    try:
        return reader.read(path)
    except (OprelError, OSError):
        raise
    except Exception as error:  # code of others on files of strangers: its faults must not hide the other models
        raise invalid(path, f"the reader of {reader.format} failed: {type(error).__name__}: {error}", 0) from error
