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
    """`what` is a sentence without full stop about the file or folder `path`; `step` is a full sentence of advice.

    `code` names the kind of the finding for programs, as in docs/library.md.
    """

    severity: Severity
    code: str
    path: Path
    what: str
    step: str = ""


def error(code: str, path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.ERROR, code, path, what, step)


def warning(code: str, path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.WARNING, code, path, what, step)


def note(code: str, path: Path, what: str, step: str = "") -> Finding:
    return Finding(Severity.NOTE, code, path, what, step)


def refusal(path: Path, problem: InvalidModelError) -> Finding:
    """Turn the error from reading `path` into a finding."""
    return error("damaged", path, problem.message, problem.resolution_steps[0] if problem.resolution_steps else "")
