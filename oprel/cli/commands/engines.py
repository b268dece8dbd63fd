"""`oprel engines list|test|use`: the inference engines that oprel knows, and which of them are here."""

import argparse
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from oprel.cli import render
from oprel.cli.options import add_address, config_from
from oprel.core.config import Config, child_environment
from oprel.core.exceptions import NoEngineError, ValidationError

if TYPE_CHECKING:
    from oprel.runtime.engines import Found

TITLES = ("ENGINE", "FORMATS", "RUNS ON", "PROGRAM")
AUTO = "auto"
PROBE_SECONDS = 60.0  # some import half a minute before they tell their version


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("engines", help="list the inference engines, try one, or prefer one")
    parser.add_argument("action", nargs="?", choices=("list", "test", "use"), default="list", help="list (the default)")
    parser.add_argument("name", nargs="?", help=f"an engine's name; `use {AUTO}` prefers none")
    parser.add_argument("program", nargs="?", type=Path, help="for `use`: its program, where that is not on PATH")
    add_address(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    config = config_from(args)
    if args.action == "list":
        _list(config)
    elif not args.name:
        raise ValidationError(f"`oprel engines {args.action}` wants an engine's name", "`oprel engines` lists them.")
    elif args.action == "test":
        _test(config, args.name)
    else:
        _use(config, args.name, args.program)
    return 0


def _list(config: Config) -> None:
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.engines import find_engines

    preferred = read_choices(config.home_dir).preferred
    engines = find_engines(config)
    render.table(TITLES, [_row(found, found.backend.name == preferred) for found in engines])
    for found in engines:
        if not found.programs:
            render.note(f"To get {found.backend.name}: {found.backend.install}")


def _row(found: "Found", preferred: bool) -> tuple[str, str, str, str]:
    backend = found.backend
    program = str(found.programs[0]) if found.programs else "not installed"
    remarks = [word for word, holds in (("preferred", preferred), ("experimental", backend.experimental)) if holds]
    name = f"{backend.name} ({', '.join(remarks)})" if remarks else backend.name
    return name, ", ".join(sorted(backend.formats)), ", ".join(backend.suits), program


def _test(config: Config, name: str) -> None:
    """Raises NoEngineError where no program of the engine starts."""
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries.choices import read_choices
    from oprel.runtime.engines import programs_of

    backend = named(name)
    programs = list(programs_of(backend, config, read_choices(config.home_dir)))
    if not programs:
        raise NoEngineError(f"{backend.title} is not installed", f"To get it: {backend.install}.")
    for program in programs:
        told = _started(program.command)
        render.line(f"{program} starts: {told}")


def _started(command: tuple[str, ...]) -> str:
    """The last line of what it says of its version, or of how it is used. Raises NoEngineError."""
    for flag in ("--version", "--help"):
        try:
            done = subprocess.run(
                [*command, flag], capture_output=True, timeout=PROBE_SECONDS, env=child_environment(), check=False
            )
        except OSError as error:
            raise NoEngineError(f"{command[0]} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise NoEngineError(f"{command[0]} {flag} did not end within {PROBE_SECONDS:.0f} s") from None
        lines = (done.stdout or done.stderr).decode(errors="replace").strip().splitlines()
        if done.returncode == 0:
            return lines[-1] if flag == "--version" and lines else "it shows how it is used"
    why = lines[-1] if lines else "it says nothing"
    raise NoEngineError(f"{command[0]} does not run (status {done.returncode}): {why}", "Install it anew.")


def _use(config: Config, name: str, program: Path | None) -> None:
    from oprel.runtime.backends.registry import named
    from oprel.runtime.binaries.choices import read_choices

    if program and not program.expanduser().is_file():
        raise ValidationError(f"{program} is no program", "Give the path of the engine's executable.")
    chosen = "" if name == AUTO else named(name).name
    path = program.expanduser().absolute() if program and chosen else None
    read_choices(config.home_dir).using(chosen, path).write(config.home_dir)
    what = f"{chosen} is preferred wherever it can serve a model" if chosen else "the best engine of each model is used"
    render.line(f"{what}; a daemon that runs takes notice with the next model that it loads.")
