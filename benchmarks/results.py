"""The results of a run as JSON, so that runs can be joined, checked and shown later."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure


@dataclass(frozen=True, kw_only=True)
class Results:
    """Figures with what they depend on. `loads`: load average before and after each subject."""

    commit: str
    base: str
    cpus: int
    python: str
    rounds: int
    loads: dict[str, Sequence[float]]
    figures: list[Figure]


def machine() -> tuple[int, str]:
    """CPUs, and the version of Python."""
    return os.cpu_count() or 1, platform.python_version()


def write(results: Results, file: Path) -> None:
    file.write_text(json.dumps(asdict(results), indent=1, ensure_ascii=False) + "\n")


def read(files: Sequence[Path]) -> Results:
    """The results of several runs, joined: of a subject that several measured, those of the last one."""
    loads: dict[str, Sequence[float]] = {}
    by_subject: dict[str, list[Figure]] = {}
    document: dict[str, Any] = {}
    for file in files:
        document = json.loads(file.read_text())
        loads.update(document.pop("loads"))
        found = [_figure(entry) for entry in document.pop("figures")]
        by_subject |= dict[str, list[Figure]]((figure.subject, []) for figure in found)
        for figure in found:
            by_subject[figure.subject].append(figure)
    figures = [figure for found in by_subject.values() for figure in found]
    return Results(**document, loads=loads, figures=figures)


def _figure(entry: dict[str, Any]) -> Figure:
    rounds = {side: tuple(values) for side, values in entry.pop("rounds").items()}
    return Figure(rounds=rounds, **entry)
