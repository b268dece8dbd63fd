"""The benchmarks of this home, oldest first: OPREL_HOME/benchmarks.jsonl, one a line, at most `MOST`."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from oprel.utils.files import read_own, write_atomically
from oprel.wire.benchmarks import Benchmark

MOST = 500


def history(file: Path) -> list[Benchmark]:
    """What the file holds, without lines that cannot be read. Raises OSError."""
    try:
        lines = read_own(file).splitlines()
    except FileNotFoundError:
        return []
    benchmarks = []
    for line in lines:
        with contextlib.suppress(ValidationError):  # of another version, or damaged
            benchmarks.append(Benchmark.model_validate_json(line))
    return benchmarks


def previous(benchmark: Benchmark, earlier: Sequence[Benchmark]) -> Benchmark | None:
    """The last one of `earlier` that it can be compared with."""
    return next((each for each in reversed(earlier) if each.subject == benchmark.subject), None)


def remember(file: Path, benchmarks: Sequence[Benchmark]) -> None:
    """Add benchmarks, and drop the oldest ones beyond `MOST`. Raises OSError."""
    kept = [*history(file), *benchmarks][-MOST:]
    write_atomically(file, "".join(f"{each.model_dump_json()}\n" for each in kept).encode())
