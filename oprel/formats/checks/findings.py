"""Findings about a model's files: what is wrong, how severe it is, and what to do about it."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from oprel.core.exceptions import InvalidModelError


class Severity(Enum):
    """An error means that no engine can or should use the model; a warning that some cannot, or not always."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """`what` is a sentence without full stop about the file or folder `path`; `step` is a full sentence of advice."""

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
    """Turn the error from reading `path` into a finding."""
    return error(path, problem.message, problem.resolution_steps[0] if problem.resolution_steps else "")
