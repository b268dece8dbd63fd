"""The engine that the user prefers, and the paths of engines that are not on PATH: `engines.json` in OPREL_HOME."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import orjson

from oprel.utils.files import read_own, write_atomically


@dataclass(frozen=True)
class Choices:
    """`preferred` is a backend's name, "" for the best one; `programs` has paths by backends' names."""

    preferred: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)

    def using(self, name: str, program: Path | None) -> "Choices":
        programs = {**self.programs, name: str(program)} if program else self.programs
        return replace(self, preferred=name, programs=programs)

    def write(self, home: Path) -> None:
        """Raises OSError."""
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(home / "engines.json", orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))


def read_choices(home: Path) -> Choices:
    """The stored choices; the defaults if the file is missing or damaged."""
    try:
        return parsed(read_own(home / "engines.json"))
    except (OSError, ValueError, TypeError, AttributeError):
        return Choices()


def parsed(content: bytes) -> Choices:
    """Raises ValueError, TypeError or AttributeError for anything else, also for a file of a later version."""
    choices = Choices(**orjson.loads(content))
    programs = {str(name): str(path) for name, path in choices.programs.items()}
    return Choices(str(choices.preferred), programs)
