"""Arguments that commands share, and the configuration they make."""

import argparse
import dataclasses
from collections.abc import Container
from pathlib import Path

from oprel.cli import render
from oprel.core.config import DURATIONS, PATHS, Config, Value, flag, load_config, settings
from oprel.core.exceptions import ModelNotFoundError
from oprel.core.names import GUIDE, is_path


def add_address(parser: argparse.ArgumentParser) -> None:
    """--config, --home and --host: which daemon a command talks to."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
    add_settings(parser, ("home", "host"))


def add_settings(parser: argparse.ArgumentParser, names: Container[str]) -> None:
    """Flags for the settings called `names`."""
    for entry in settings():
        if entry.name in names:
            default = "" if entry.default == "" else f" (default: {entry.default})"
            text = f"{entry.metadata['help']}{default}".replace("%", "%%")
            parser.add_argument(flag(entry.name), dest=entry.name, metavar=_metavar(entry), help=text)


def _metavar(entry: dataclasses.Field[Value]) -> str:
    if choices := entry.metadata["choices"]:
        return "|".join(choices)
    if entry.name in PATHS:
        return "PATH"
    if entry.name in DURATIONS:
        return "DURATION"
    return "N" if entry.type is int else entry.name.rsplit("_", 1)[-1].upper()


def config_from(args: argparse.Namespace) -> Config:
    """Defaults < file < environment < the flags given. Raises ConfigError."""
    given = {entry.name: getattr(args, entry.name, None) for entry in settings()}
    return load_config({name: value for name, value in given.items() if value is not None}, file=args.config)


def default_model() -> str:
    """The model for who names none, after one line that says what it is."""
    render.note(
        f"{GUIDE} is a tiny model that comes with oprel and knows how to use it; name another for anything else."
    )
    return GUIDE


def check_path(model: str) -> None:
    """Say precisely what is wrong with a path, as the daemon, asked by anyone, does not. Raises ModelNotFoundError."""
    if not is_path(model):
        return
    from oprel.formats.gguf import MAGIC

    path = Path(model).expanduser()
    if not path.exists():
        raise ModelNotFoundError(f"there is no file {model}", "Check the path; `oprel list` shows the named models.")
    if path.is_dir():
        found = sorted(path.glob("*.gguf"))
        step = f"Name the file, for example {found[0]}." if found else "It holds no .gguf file."
        raise ModelNotFoundError(f"{model} is a folder, not a model file", step)
    if not path.is_file():  # a pipe would keep us waiting
        raise ModelNotFoundError(f"{model} is not a file", "Name a .gguf file.")
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise ModelNotFoundError(f"{model} cannot be read: {error.strerror}", "Check its permissions.") from error
    if magic != MAGIC:
        raise ModelNotFoundError(
            f"{model} is not a GGUF model file", "Its first bytes are not GGUF: was it downloaded whole?"
        )
