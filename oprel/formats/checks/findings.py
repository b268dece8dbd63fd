"""What is found about a model's files: what is the matter, how bad it is, and what to do about it."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from oprel.core.exceptions import InvalidModelError


class Severity(Enum):
    """An error keeps every engine from using the model, or must; a warning some of them, or only at times."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """`what` is a sentence without its full stop about the file or folder `path`; `step` a whole one for the user."""

    severity: Severity
    path: Path
    what: str
    step: str = ""


def error(path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.ERROR, path, what, step)


def warning(path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.WARNING, path, what, step)


def note(path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.NOTE, path, what, step)


def refusal(path: Path, problem: InvalidModelError) -> Finding:
    """The error that reading `path` ended with."""
    return error(path, problem.message, problem.resolution_steps[0] if problem.resolution_steps else "")
