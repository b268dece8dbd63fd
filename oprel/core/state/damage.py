"""What is in the way in a home: files that cannot be used, and things of another kind in their places.

Nothing of it is needed to start, so it is set aside under another name, and begun anew.
"""

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from oprel.core.config import Config
from oprel.utils.files import SET_ASIDE, read_own, set_aside, sweep

# Each with a content of its own, which its owner checks when a daemon starts.
STATE_FILES = (
    *("last-used.json", "fetched.json", "loaded.json", "memory.json", "engines.json", "bandwidth.json"),
    *("benchmarks.jsonl", "last-conversation.json"),
)
RUN_FILES = ("daemon.lock", "start.lock", "settings.json")
DAMAGED = (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError)  # what reading such a file raises


class Damage(NamedTuple):
    """Why a path cannot be used."""

    path: Path
    why: str


def folders(config: Config) -> Iterator[Path]:
    """The folders that oprel itself writes to, outermost first, whether they exist or not."""
    yield from (config.models_dir, config.models_dir / "blobs", config.models_dir / "converted")
    yield from (config.logs_dir, config.crashes_dir, config.run_dir, config.run_dir / "engines")
    yield config.own_certificate.parent


def in_the_way(config: Config) -> Iterator[Damage]:
    """Whatever is not a folder where one belongs, or not a file; a link to a folder elsewhere is one."""
    for folder in folders(config):
        if (mode := _mode(folder)) and not (stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
            yield Damage(folder, "it is not a folder")
    logs = (config.logs_dir / "daemon.log", config.home_dir / "history")  # the latter of what was typed
    for file in (*(config.run_dir / name for name in RUN_FILES), *logs, config.own_certificate, config.own_key):
        if (mode := _mode(file)) and not stat.S_ISREG(mode):
            yield Damage(file, "it is not a file")
    if (mode := _mode(config.socket_path)) and not stat.S_ISSOCK(mode):
        yield Damage(config.socket_path, "it is not a socket")


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def fault(file: Path, parse: Callable[[bytes], object]) -> str | None:
    """Why `parse` cannot read the file; None if it can, or without a file."""
    try:
        parse(read_own(file))
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        text = error.strerror if isinstance(error, OSError) else str(error).partition("\n")[0]
        return text or "it is damaged"
    return None


def heal(file: Path, parse: Callable[[bytes], object]) -> Path | None:
    """Set the file aside unless `parse` can read it; returns where it is then. Raises OSError."""
    why = fault(file, parse)
    return _moved(Damage(file, why)) if why else None


def clear_the_way(config: Config) -> None:
    """Set aside what is in the way. Raises OSError."""
    for damage in in_the_way(config):
        _moved(damage)


def _moved(damage: Damage) -> Path:
    import logging  # imported late: commands come here too

    aside = set_aside(damage.path)
    logging.getLogger(__name__).warning(
        "%s cannot be used: %s. It is now %s, and a new one is begun.", *damage, aside.name
    )
    return aside


def state_faults(config: Config) -> Iterator[Damage]:
    """The files of experience that are no JSON, or cannot be read."""
    for name in STATE_FILES:
        parse = _each_line if name.endswith("l") else json.loads
        if why := fault(config.home_dir / name, parse):
            yield Damage(config.home_dir / name, why)


def _each_line(content: bytes) -> None:
    for line in content.splitlines():
        json.loads(line)


def sweep_home(config: Config) -> list[Path]:
    """Delete the temporary files of processes that were killed, and return their paths."""
    own_hub = config.hub_dir if config.hub_dir.is_relative_to(config.home_dir) else config.models_dir
    places = (config.home_dir, *folders(config), config.engines_dir / "llama.cpp", *own_hub.glob("models--*/refs"))
    return [path for folder in places for path in sweep(folder)]


def set_aside_before(config: Config) -> list[Path]:
    """What was set aside in this home, by name."""
    paths = {path for folder in (config.home_dir, *folders(config)) for path in folder.glob(f"*{SET_ASIDE}*")}
    return sorted(path for path in paths if not path.name.endswith(("-wal", "-shm")))
